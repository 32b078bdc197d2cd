import { useCallback, useEffect, useId, useState } from "react";
import { api, type Invite, type Me, messageOf, type Participant, type Role, type Session } from "./api.ts";
import { Avatar } from "./avatar.tsx";
import { Dialog } from "./dialogs.tsx";
import { Failure } from "./failure.tsx";
import { CheckIcon, CopyIcon } from "./icons.tsx";
import { texts } from "./texts.ts";
import { whenOf } from "./time.ts";
import { useCopy } from "./use-copy.ts";

const words = texts.share;
const roles = ["owner", "writer", "reader"] as const;
const mostUses = 1_000;

const Person = (props: {
  readonly person: Participant;
  readonly me: Me;
  readonly founder: boolean;
  readonly manages: boolean;
  readonly onRole: (role: Role) => void;
  readonly onRemove: () => void;
}) => {
  const { person, me, founder, manages, onRole, onRemove } = props;
  const { user, role } = person;
  const own = user === me.user;
  return (
    <li className="person">
      <Avatar name={user} here={person.attached} />
      <span className="person-name">
        {user}
        {own && <span className="dim"> ({words.you})</span>}
      </span>
      {manages && !founder && !own ? (
        <>
          <select
            aria-label={words.roleOf(user)}
            value={role}
            onChange={({ target }) => onRole(target.value as Role)}
          >
            {roles.map((one) => (
              <option key={one} value={one}>
                {words.roles[one]}
              </option>
            ))}
          </select>
          <button type="button" className="quiet small" aria-label={words.remove(user)} onClick={onRemove}>
            {words.removeShort}
          </button>
        </>
      ) : (
        <span className="dim">{founder ? words.founder : words.roles[role]}</span>
      )}
    </li>
  );
};

const NewInvite = ({ onCreate }: { readonly onCreate: (role: Role, uses: number) => Promise<string> }) => {
  const [role, setRole] = useState<Role>("writer");
  const [uses, setUses] = useState("1");
  const [link, setLink] = useState<string>();
  const { copied, copy } = useCopy();
  const [roleId, usesId, linkId] = [useId(), useId(), useId()];
  return (
    <form
      className="new-invite"
      onSubmit={(event) => {
        event.preventDefault();
        const wanted = Math.min(mostUses, Math.max(1, Math.floor(Number(uses) || 1)));
        onCreate(role, wanted).then(setLink, () => undefined);
      }}
    >
      <h3>{words.invite}</h3>
      <div className="row">
        <div>
          <label htmlFor={roleId}>{words.role}</label>
          <select id={roleId} value={role} onChange={({ target }) => setRole(target.value as Role)}>
            <option value="writer">{words.roles.writer}</option>
            <option value="reader">{words.roles.reader}</option>
          </select>
        </div>
        <div>
          <label htmlFor={usesId}>{words.uses}</label>
          <input
            id={usesId}
            type="number"
            min="1"
            max={mostUses}
            value={uses}
            onChange={({ target }) => setUses(target.value)}
          />
        </div>
        <button type="submit">{words.create}</button>
      </div>
      {link !== undefined && (
        <div className="link">
          <label htmlFor={linkId}>{words.link}</label>
          <div className="row">
            <input id={linkId} readOnly value={link} onFocus={({ target }) => target.select()} />
            <button type="button" className="primary" onClick={() => copy(link)}>
              {copied ? <CheckIcon /> : <CopyIcon />}
              {copied ? words.copied : words.copy}
            </button>
          </div>
          <p className="hint">{words.once}</p>
        </div>
      )}
    </form>
  );
};

/** Who takes part, and how others come in. */
export const ShareDialog = ({
  session,
  me,
  changes,
  onClose,
  onNotice,
}: {
  readonly session: Session;
  readonly me: Me;
  /** Grows when somebody's part has changed. */
  readonly changes: number;
  readonly onClose: () => void;
  readonly onNotice: (notice: string) => void;
}) => {
  const { id } = session;
  const manages = session.role === "owner";
  const [people, setPeople] = useState<readonly Participant[]>([]);
  const [invites, setInvites] = useState<readonly Invite[]>([]);
  const [error, setError] = useState<string>();

  const look = useCallback(async () => {
    try {
      const [found, open] = await Promise.all([api.participants(id), manages ? api.invites(id) : []]);
      setPeople(found);
      setInvites(open);
    } catch (reason) {
      setError(messageOf(reason));
    }
  }, [id, manages]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: looked up again when somebody's part has changed
  useEffect(() => void look(), [look, changes]);

  const change = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (reason) {
      onNotice(messageOf(reason));
    }
    await look();
  };

  return (
    <Dialog title={words.title} onClose={onClose}>
      <Failure text={error} />
      <h3>{words.people}</h3>
      <ul className="people">
        {people.map((person) => (
          <Person
            key={person.user}
            person={person}
            me={me}
            founder={person.user === session.owner}
            manages={manages}
            onRole={(role) => void change(() => api.grant(id, person.user, role))}
            onRemove={() => void change(() => api.revoke(id, person.user))}
          />
        ))}
      </ul>
      <p className="hint">{words.roleHints}</p>
      {manages && (
        <NewInvite
          onCreate={async (role, uses) => {
            try {
              const link = await api.invite(id, role, uses);
              void look();
              return link;
            } catch (reason) {
              onNotice(messageOf(reason));
              throw reason;
            }
          }}
        />
      )}
      {invites.length > 0 && (
        <>
          <h3>{words.open}</h3>
          <ul className="people">
            {invites.map((invite) => (
              <li key={invite.id} className="person">
                <span className="person-name">
                  {words.left(words.roles[invite.role] ?? "", invite.usesLeft, whenOf(invite.expiresAt))}
                </span>
                <button
                  type="button"
                  className="quiet small"
                  onClick={() => void change(() => api.revokeInvite(id, invite.id))}
                >
                  {words.revoke}
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
    </Dialog>
  );
};
