import { isIPv6 } from "node:net";

interface Listening {
  readonly host: string;
  readonly port: number;
}

/** A listener's address as something on this host can dial it: every address means loopback. */
export const dialable = ({ host, port }: Listening): string => {
  const near = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return `${isIPv6(near) ? `[${near}]` : near}:${port}`;
};

export const httpUrl = ({ http }: { readonly http: Listening }): string => `http://${dialable(http)}`;

export const sdkEndpoint = ({ sdk }: { readonly sdk: Listening }): string => dialable(sdk);
