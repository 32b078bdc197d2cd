import { scene, sceneTitle } from "../../demo/scene.ts";
import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";

/** Makes the demo's room through the API as its users would, and lets them talk; its session's public id. */
export const makeDemoRoom = async (url: string, keyOf: (user: string) => string): Promise<string> => {
  const ask = async (user: string, method: string, path: string, body: unknown): Promise<unknown> => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${keyOf(user)}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (response.ok) return response.json();
    throw new SquadronError("internal", "The demo's room could not be made.", {
      cause: await response.text(),
    });
  };
  const made = await ask("alice", "POST", "/v1/sessions", { name: "summer-party" });
  const id = isObject(made) ? String(made.id) : "";
  const path = `/v1/sessions/${id}`;
  await ask("alice", "PUT", `${path}/participants/bob`, { role: "writer" });
  for (const { by, says } of scene) await ask(by, "POST", `${path}/messages`, { prompt: says });
  await ask("alice", "PATCH", path, { title: sceneTitle });
  return id;
};
