import type { ReactNode } from "react";

const icon = (content: ReactNode) => () => (
  <svg viewBox="0 0 20 20" aria-hidden="true" className="icon">
    {content}
  </svg>
);

export const PlusIcon = icon(<path d="M10 4v12M4 10h12" />);
export const SearchIcon = icon(<path d="M13.2 13.2 17 17M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11Z" />);
export const BackIcon = icon(<path d="M12.5 4.5 7 10l5.5 5.5" />);
export const SendIcon = icon(<path d="M10 16V4.5M4.8 9.6 10 4.4l5.2 5.2" />);
export const StopIcon = icon(<rect x="5.5" y="5.5" width="9" height="9" rx="1.5" className="filled" />);
export const ClipIcon = icon(
  <path d="m15.6 9.3-5.5 5.5a3.6 3.6 0 0 1-5.1-5.1l6-6a2.4 2.4 0 0 1 3.4 3.4l-6 6a1.2 1.2 0 0 1-1.7-1.7l5.5-5.5" />,
);
export const CloseIcon = icon(<path d="m5 5 10 10M15 5 5 15" />);
export const DownIcon = icon(<path d="M10 4.5V16M4.8 10.8 10 16l5.2-5.2" />);
export const CopyIcon = icon(<path d="M7.5 7.5h8v9h-8zM12.5 7.5v-4h-8v9h3" />);
export const CheckIcon = icon(<path d="m4.5 10.5 3.8 3.8 7.2-8.1" />);
export const ShareIcon = icon(
  <path d="M8 9.5a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6ZM2.8 16c.4-2.6 2.4-4.2 5.2-4.2s4.8 1.6 5.2 4.2M15.5 7v5M13 9.5h5" />,
);
export const EditIcon = icon(<path d="m4 16 .8-3.4 8.3-8.3 2.6 2.6-8.3 8.3zM11.5 5.9l2.6 2.6" />);
export const TrashIcon = icon(<path d="M4.5 6h11M8 6V4h4v2M6 6l.6 10.5h6.8L14 6M8.7 8.7v5M11.3 8.7v5" />);
export const LeaveIcon = icon(<path d="M8.5 4h-4v12h4M8 10h9M13.5 6.5 17 10l-3.5 3.5" />);
export const ToolIcon = icon(
  <path d="M16.5 6.1a4 4 0 0 1-5.3 4.9l-5 5a1.6 1.6 0 0 1-2.3-2.3l5-5a4 4 0 0 1 4.9-5.2L11.3 6l.5 2.1 2.1.5z" />,
);
export const FileIcon = icon(<path d="M5 3h6.5L15 6.5V17H5zM11.5 3v3.5H15" />);
export const ChevronIcon = icon(<path d="m7.5 5 5 5-5 5" />);
export const QuestionIcon = icon(
  <path d="M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM8 8.2c.1-1.2 1-1.9 2.1-1.9 1.2 0 2.1.8 2.1 1.8 0 1.5-2.2 1.7-2.2 3.2M10 13.8v.1" />,
);
