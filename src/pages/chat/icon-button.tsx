import type { ReactNode } from "react";

/** A button that shows no word, but says what it does to who points at it or listens. */
export const IconButton = ({
  label,
  children,
  onClick,
  kind = "quiet",
  submit = false,
  disabled = false,
}: {
  readonly label: string;
  readonly children: ReactNode;
  readonly onClick?: () => void;
  /** Its classes beside `icon-only`. */
  readonly kind?: string;
  readonly submit?: boolean;
  readonly disabled?: boolean;
}) => (
  <button
    type={submit ? "submit" : "button"}
    className={`${kind} icon-only`}
    aria-label={label}
    title={label}
    disabled={disabled}
    onClick={onClick}
  >
    {children}
  </button>
);
