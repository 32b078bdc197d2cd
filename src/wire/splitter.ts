import { SquadronError } from "../kernel/errors.ts";

const headerEnd = Buffer.from("\r\n\r\n");
const maxHeaderBytes = 8 * 1024;

export const defaultMaxFrameBytes = 64 * 1024 * 1024;

/** Cuts a byte stream of `Content-Length: N\r\n\r\n<N bytes>` into bodies. After an error it must not be used again. */
export interface Splitter {
  /** Takes the next bytes of the stream; they must not change afterwards, bodies may be views of them. */
  push(chunk: Buffer): void;
  /**
   * The next whole body, or `undefined` until more bytes come. Throws `invalid_frame` for a malformed header,
   * `too_large` for a header or a body over its limit (as soon as the header says so).
   */
  next(): Buffer | undefined;
  /** When `next()` has nothing more: is the beginning of a frame (or of its header) held? */
  readonly partial: boolean;
}

/** A splitter that refuses headers over 8 KiB and bodies over `maxFrameBytes` (64 MiB by default), asked at each header. */
export const createSplitter = (options: { maxFrameBytes?: () => number } = {}): Splitter => {
  const maxFrameBytes = options.maxFrameBytes ?? (() => defaultMaxFrameBytes);
  let chunks: Buffer[] = [];
  let heldBytes = 0;
  /** Bytes of the body that is being collected; `undefined` while a header is read. */
  let bodyBytes: number | undefined;

  /** Takes `count` held bytes off the front: a view if they lie in one chunk, one copy otherwise. */
  const take = (count: number): Buffer => {
    const only = chunks.length === 1 ? chunks[0] : undefined;
    const joined = only ?? Buffer.concat(chunks, heldBytes);
    heldBytes -= count;
    chunks = heldBytes === 0 ? [] : [joined.subarray(count)];
    return joined.subarray(0, count);
  };

  /** The length of the next body, with its header taken off; `undefined` while the header is incomplete. */
  const takeHeader = (): number | undefined => {
    if (chunks.length > 1) chunks = [Buffer.concat(chunks, heldBytes)];
    const held = chunks[0];
    if (held === undefined) return undefined;
    const end = held.subarray(0, maxHeaderBytes).indexOf(headerEnd);
    if (end >= 0) {
      const length = contentLength(held.toString("latin1", 0, end), maxFrameBytes());
      take(end + headerEnd.length);
      return length;
    }
    if (held.length >= maxHeaderBytes) {
      throw new SquadronError("too_large", `A frame's header is longer than ${maxHeaderBytes} bytes.`);
    }
    return undefined;
  };

  return {
    push: (chunk) => {
      if (chunk.length === 0) return;
      chunks.push(chunk);
      heldBytes += chunk.length;
    },
    next: () => {
      bodyBytes ??= takeHeader();
      if (bodyBytes === undefined || heldBytes < bodyBytes) return undefined;
      const body = take(bodyBytes);
      bodyBytes = undefined;
      return body;
    },
    get partial() {
      return bodyBytes !== undefined || heldBytes > 0;
    },
  };
};

/** The value of the one `Content-Length` in a header block; other headers need only have the form `name: value`. */
const contentLength = (header: string, maxFrameBytes: number): number => {
  let text: string | undefined;
  for (const line of header.split("\r\n")) {
    const field = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*?)[ \t]*$/.exec(line);
    if (field === null)
      throw new SquadronError("invalid_frame", "A header line is not of the form `name: value`.");
    if (field[1]?.toLowerCase() !== "content-length") continue;
    if (text !== undefined)
      throw new SquadronError("invalid_frame", "A header has two Content-Length fields.");
    text = field[2] ?? "";
  }
  if (text === undefined) throw new SquadronError("invalid_frame", "A header has no Content-Length.");
  if (!/^\d+$/.test(text))
    throw new SquadronError("invalid_frame", "Content-Length is not a decimal number.");
  const length = Number(text);
  if (length > maxFrameBytes) {
    throw new SquadronError("too_large", `A frame is larger than ${maxFrameBytes} bytes.`, {
      details: { limit: maxFrameBytes },
    });
  }
  return length;
};
