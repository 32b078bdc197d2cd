import { createParser, type EventSourceMessage } from "eventsource-parser";
import type { TestNode, UserName } from "./test-node.ts";

type Body = Record<string, unknown>;

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
}

export interface StreamedEvent {
  readonly event: string;
  readonly data: Body;
}

/** A client of the HTTP API that reads whole answers and whole streams. */
export interface HttpClient {
  call(user: UserName, method: string, path: string, body?: unknown): Promise<HttpAnswer>;
  /** Posts, accepting a stream, and reads it to its end. */
  events(user: UserName, path: string, body: unknown): Promise<readonly StreamedEvent[]>;
}

export const parseEvents = (text: string): readonly StreamedEvent[] => {
  const events: StreamedEvent[] = [];
  const parser = createParser({
    onEvent: ({ event = "", data }: EventSourceMessage) =>
      events.push({ event, data: JSON.parse(data) as Body }),
  });
  parser.feed(text);
  return events;
};

export const httpOf = (node: Pick<TestNode, "fetch">): HttpClient => ({
  async call(user, method, path, body) {
    const response = await node.fetch(user, path, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: text === "" ? {} : (JSON.parse(text) as Body),
    };
  },
  async events(user, path, body) {
    const headers = { accept: "text/event-stream" };
    const response = await node.fetch(user, path, { method: "POST", body: JSON.stringify(body), headers });
    return parseEvents(await response.text());
  },
});
