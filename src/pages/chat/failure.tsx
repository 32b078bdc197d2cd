/** Says what has gone wrong, if something has. */
export const Failure = ({ text }: { readonly text: string | undefined }) =>
  text !== undefined && (
    <p className="error" role="alert">
      {text}
    </p>
  );
