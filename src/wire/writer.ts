/**
 * A frame whose body is the parts one after the other (strings as UTF-8), header and body in one buffer:
 * one write, so that no half frame waits for an acknowledgement.
 */
export const frameOf = (...body: readonly (string | Buffer)[]): Buffer => {
  let length = 0;
  for (const part of body) length += typeof part === "string" ? Buffer.byteLength(part) : part.length;
  const header = `Content-Length: ${length}\r\n\r\n`;
  const frame = Buffer.allocUnsafe(header.length + length);
  let at = frame.write(header, "latin1");
  for (const part of body) at += typeof part === "string" ? frame.write(part, at) : part.copy(frame, at);
  return frame;
};
