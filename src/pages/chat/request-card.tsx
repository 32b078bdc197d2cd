import { type FormEvent, useEffect, useId, useRef, useState } from "react";
import { ApiError, type Me, messageOf } from "./api.ts";
import { type Field, fieldsOf, valuesOf } from "./elicitation.ts";
import { ChevronIcon, QuestionIcon } from "./icons.tsx";
import { type Json, list, text } from "./json.ts";
import { permissionOf } from "./permission.ts";
import type { Request } from "./room.ts";
import { texts } from "./texts.ts";
import { timeOf } from "./time.ts";

const words = texts.requests;

type Answer = (answer: Json) => void;

/** What is asked, in the runtime's own words, and the whole of it: nobody allows what they have not seen. */
const Asked = ({ request: { detail, kind } }: { readonly request: Request }) => {
  if (kind === "user_input") return <p>{text(detail.question)}</p>;
  if (kind === "elicitation") return <p>{text(detail.message)}</p>;
  const { name, why, what } = permissionOf(detail);
  return (
    <>
      <p>
        <code>{name}</code> {why}
      </p>
      {what.map((one) => (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what is long is scrolled with the keyboard too
        <pre key={one} className="tool-text" tabIndex={0}>
          {one}
        </pre>
      ))}
    </>
  );
};

const PermissionButtons = ({ busy, onAnswer }: { readonly busy: boolean; readonly onAnswer: Answer }) => (
  <div className="buttons">
    <button type="button" className="primary" disabled={busy} onClick={() => onAnswer({ decision: "allow" })}>
      {words.allow}
    </button>
    <button type="button" disabled={busy} onClick={() => onAnswer({ decision: "deny" })}>
      {words.deny}
    </button>
  </div>
);

const TextAnswer = (props: {
  readonly label: string;
  readonly submit: string;
  readonly choices: readonly string[];
  readonly freeform: boolean;
  readonly busy: boolean;
  readonly onText: (answer: string) => void;
}) => {
  const { label, submit, choices, freeform, busy, onText } = props;
  const [given, setGiven] = useState("");
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (given.trim() !== "") onText(given);
      }}
    >
      {choices.length > 0 && (
        <div className="buttons">
          {choices.map((choice) => (
            <button key={choice} type="button" disabled={busy} onClick={() => onText(choice)}>
              {choice}
            </button>
          ))}
        </div>
      )}
      {freeform && (
        <div className="buttons">
          <input aria-label={label} value={given} onChange={({ target }) => setGiven(target.value)} />
          <button type="submit" className="primary" disabled={busy || given.trim() === ""}>
            {submit}
          </button>
        </div>
      )}
    </form>
  );
};

const FieldView = ({ field }: { readonly field: Field }) => {
  const id = useId();
  const { name, kind, choices, required, initial } = field;
  return (
    <div className="field">
      <label htmlFor={id}>{field.title}</label>
      {kind === "choice" ? (
        <select id={id} name={name} required={required} defaultValue={initial}>
          {choices.map((choice) => (
            <option key={choice} value={choice}>
              {choice}
            </option>
          ))}
        </select>
      ) : kind === "yes" ? (
        <input id={id} name={name} type="checkbox" defaultChecked={initial === "true"} />
      ) : (
        <input
          id={id}
          name={name}
          type={kind === "number" ? "number" : "text"}
          step={kind === "number" ? "any" : undefined}
          required={required}
          defaultValue={initial}
        />
      )}
      {field.about !== "" && <p className="hint">{field.about}</p>}
    </div>
  );
};

const ElicitationForm = ({
  detail,
  busy,
  onAnswer,
}: {
  readonly detail: Json;
  readonly busy: boolean;
  readonly onAnswer: Answer;
}) => {
  const fields = fieldsOf(detail);
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    onAnswer({ action: "accept", content: valuesOf(fields, new FormData(event.currentTarget)) });
  };
  return (
    <form onSubmit={submit}>
      {fields.map((field) => (
        <FieldView key={field.name} field={field} />
      ))}
      <div className="buttons">
        <button type="submit" className="primary" disabled={busy}>
          {words.accept}
        </button>
        <button type="button" disabled={busy} onClick={() => onAnswer({ action: "decline" })}>
          {words.decline}
        </button>
        <button
          type="button"
          className="quiet"
          disabled={busy}
          onClick={() => onAnswer({ action: "cancel" })}
        >
          {words.dismiss}
        </button>
      </div>
    </form>
  );
};

const Answering = ({
  request,
  busy,
  onAnswer,
}: {
  readonly request: Request;
  readonly busy: boolean;
  readonly onAnswer: Answer;
}) => {
  const { detail } = request;
  switch (request.kind) {
    case "permission":
      return <PermissionButtons busy={busy} onAnswer={onAnswer} />;
    case "user_input":
      return (
        <TextAnswer
          label={words.answerLabel}
          submit={words.answer}
          choices={list(detail.choices).map(text)}
          freeform={detail.allowFreeform !== false || list(detail.choices).length === 0}
          busy={busy}
          onText={(answer) => onAnswer({ answer })}
        />
      );
    case "elicitation":
      return <ElicitationForm detail={detail} busy={busy} onAnswer={onAnswer} />;
    case "tool_call":
      return (
        <TextAnswer
          label={words.result}
          submit={words.answer}
          choices={[]}
          freeform
          busy={busy}
          onText={(result) => onAnswer({ result })}
        />
      );
  }
};

const settledText = ({ settled }: Request, allowed: boolean | undefined, me: Me): string => {
  if (settled === null) return "";
  if (settled.outcome === "answered" && settled.by !== null) {
    const how = allowed === undefined ? words.answered : allowed ? words.allowed : words.denied;
    return how(settled.by === me.user ? words.you : settled.by);
  }
  return words.outcomes[settled.outcome] ?? settled.outcome;
};

/** How it ended, in a line; what was asked is behind it. */
const Settled = ({ request, allowed, me }: Pick<RequestProps, "request" | "allowed" | "me">) => (
  <details className="tool">
    <summary>
      <ChevronIcon />
      <QuestionIcon />
      <span className="request-title">{words.settled[request.kind]}</span>
      <span className="tool-state">{settledText(request, allowed, me)}</span>
    </summary>
    <div className="tool-inside">
      <Asked request={request} />
    </div>
  </details>
);

interface RequestProps {
  readonly request: Request;
  /** Of a permission, once it is known. */
  readonly allowed: boolean | undefined;
  readonly me: Me;
  readonly mayAnswer: boolean;
  readonly onAnswer: (answer: Json) => Promise<unknown>;
}

const Open = ({ request, mayAnswer, onAnswer }: RequestProps) => {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();

  const answer = async (given: Json): Promise<void> => {
    setBusy(true);
    setError(undefined);
    try {
      await onAnswer(given);
    } catch (reason) {
      const late = reason instanceof ApiError && (reason.status === 409 || reason.status === 404);
      setError(late ? words.tooLate : messageOf(reason));
      setBusy(false);
    }
  };

  return (
    <>
      <p className="request-title">{words.titles[request.kind]}</p>
      <Asked request={request} />
      {mayAnswer && <Answering request={request} busy={busy} onAnswer={(given) => void answer(given)} />}
      <p className="hint" role="status">
        {error ??
          (mayAnswer
            ? (request.kind === "permission" ? words.deniedAt : words.waitsUntil)(timeOf(request.expiresAt))
            : words.waitsFor(request.for ?? words.anOwner))}
      </p>
    </>
  );
};

/** Something that the model may not do or know by itself. Who may answers; the others see that it waits, and how it ended. */
export const RequestCard = (props: RequestProps) => {
  const { request, me, onAnswer } = props;
  const open = request.settled === null;
  const element = useRef<HTMLFieldSetElement>(null);
  const answered = useRef(false);
  useEffect(() => {
    // The button that had the focus is gone: who uses the keyboard goes on from here.
    if (!open && answered.current && document.activeElement === document.body)
      element.current?.querySelector("summary")?.focus({ preventScroll: true });
  }, [open]);
  const answer = (given: Json): Promise<unknown> => {
    answered.current = true;
    return onAnswer(given);
  };
  return (
    <fieldset
      ref={element}
      className={open ? "request open" : "request"}
      aria-label={words.titles[request.kind]}
    >
      {open ? (
        <Open {...props} onAnswer={answer} />
      ) : (
        <Settled request={request} allowed={props.allowed} me={me} />
      )}
    </fieldset>
  );
};
