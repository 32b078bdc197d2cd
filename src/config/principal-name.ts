const maxLength = 128;

export const principalNameForm = `1 to ${maxLength} characters without control characters`;

/** May a tenant or user be called this? Lone surrogates are refused since databases do not keep them apart. */
export const isPrincipalName = (name: string): boolean =>
  name.length > 0 && name.length <= maxLength && name.isWellFormed() && !/\p{Cc}/u.test(name);
