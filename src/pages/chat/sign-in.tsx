import { type FormEvent, useState } from "react";
import icon from "./icon.svg";
import { texts } from "./texts.ts";

const words = texts.signIn;

export const SignIn = ({
  error,
  onKey,
}: {
  readonly error: string | undefined;
  readonly onKey: (key: string) => Promise<void>;
}) => {
  const [key, setKey] = useState("");
  const [busy, setBusy] = useState(false);

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    const given = key.trim();
    if (given === "" || busy) return;
    setBusy(true);
    await onKey(given);
    setBusy(false);
  };

  return (
    <main className="sign-in">
      <form className="card" onSubmit={submit}>
        <img src={icon} alt="" width="44" height="44" />
        <h1>{words.title}</h1>
        <p className="lead">{words.lead}</p>
        <label htmlFor="key">{words.key}</label>
        <input
          id="key"
          type="password"
          autoComplete="current-password"
          spellCheck={false}
          required
          // biome-ignore lint/a11y/noAutofocus: the page has nothing else to do
          autoFocus
          value={key}
          onChange={({ target }) => setKey(target.value)}
          aria-describedby={error === undefined ? "key-hint" : "key-hint key-error"}
          aria-invalid={error !== undefined}
        />
        <p id="key-hint" className="hint">
          {words.hint}
        </p>
        <p id="key-error" className="error" role="alert">
          {error}
        </p>
        <button type="submit" className="primary" disabled={busy}>
          {busy ? words.busy : words.submit}
        </button>
      </form>
    </main>
  );
};
