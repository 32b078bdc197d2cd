import { errorTable } from "../kernel/errors.ts";
import { escaped, inline, list, prose, record, string } from "./docs-html.ts";
import { type Mark, schemaTable, typeWords } from "./docs-schema.ts";

/** The page's only style; the page needs no script. */
export const docsStyle = `
:root { color-scheme: light dark; --line: light-dark(#d8dee6, #333b46); --soft: light-dark(#f5f7fa, #1b2027); --dim: light-dark(#57606a, #9aa5b1); --mark: light-dark(#0a5cc2, #7ab4ff); }
body { font: 16px/1.55 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 5rem; background: light-dark(#fff, #12161b); color: light-dark(#1c2128, #e3e8ee); }
h1 { font-size: 1.9rem; margin: 0 0 .25rem; } h2 { margin: 2.75rem 0 .5rem; text-transform: capitalize; }
p { max-width: 46rem; } a { color: var(--mark); } code, pre { font: .875rem/1.5 ui-monospace, monospace; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px; overflow-x: auto; padding: .75rem 1rem; }
nav { color: var(--dim); } nav a { margin-right: 1rem; text-transform: capitalize; }
details { border: 1px solid var(--line); border-radius: 8px; margin: .5rem 0; } details > *:not(summary) { margin-left: 1rem; margin-right: 1rem; } details > table { margin-bottom: 1rem; width: calc(100% - 2rem); }
summary { cursor: pointer; padding: .6rem 1rem; } details[open] > summary { background: var(--soft); border-bottom: 1px solid var(--line); border-radius: 8px 8px 0 0; }
summary b { display: inline-block; font: 700 .8rem ui-monospace, monospace; color: var(--mark); min-width: 4.2rem; } summary span { color: var(--dim); margin-left: .75rem; }
table { border-collapse: collapse; width: 100%; } th, td { border-bottom: 1px solid var(--line); padding: .35rem .75rem .35rem 0; text-align: left; vertical-align: top; }
th { color: var(--dim); font-weight: 600; } td:first-child { white-space: nowrap; } h4 { margin: 1.5rem 0 .5rem; } :target { background: var(--soft); }
@media (max-width: 40rem) { summary span { display: block; margin: 0; } table { display: block; overflow-x: auto; } }
`;

const contents = (holder: unknown, mark: Mark): string =>
  Object.entries(record(record(holder).content))
    .map(
      ([type, content]) =>
        `<p><code>${escaped(type)}</code></p>${schemaTable(record(record(content).schema), mark)}`,
    )
    .join("");

const parameterRow = (value: unknown): string => {
  const { name, in: place, required, description, schema } = record(value);
  const about = string(description) || string(record(schema).description);
  return `<tr><td><code>${escaped(string(name))}</code></td><td>${escaped(string(place))}${required === true ? ", required" : ""}</td><td>${typeWords(record(schema))}</td><td>${inline(about)}</td></tr>`;
};

/** What a route says of one of its answers; the generator's own words for none are left out. */
const aboutAnswer = (answer: unknown): string => {
  const about = string(record(answer).description);
  return about === "Default Response" ? "" : prose(about);
};

const operation = (method: string, path: string, value: unknown): string => {
  const { summary, description, parameters, requestBody, responses } = record(value);
  const rows = list(parameters).map(parameterRow).join("");
  const answers = Object.entries(record(responses))
    .filter(([status]) => status !== "default")
    .map(
      ([status, answer]) =>
        `<h4>${escaped(status)}</h4>${aboutAnswer(answer)}${contents(answer, "optional")}`,
    );
  return `<details><summary><b>${method.toUpperCase()}</b><code>${escaped(path)}</code><span>${escaped(string(summary))}</span></summary>
${prose(string(description))}${rows === "" ? "" : `<table><tr><th>Parameter</th><th>In</th><th>Value</th><th>Meaning</th></tr>${rows}</table>`}
${requestBody === undefined ? "" : `<h4>Body</h4>${contents(requestBody, "required")}`}${answers.join("")}</details>`;
};

const errorRows = (): string =>
  Object.entries(errorTable)
    .map(
      ([code, { http, rpc }]) =>
        `<tr id="error-${code}"><td><code>${code}</code></td><td>${http}</td><td>${rpc}</td></tr>`,
    )
    .join("");

/** The page at /docs, made from the OpenAPI document alone. `origin` is where its reader reaches the node. */
export const docsPage = (document: unknown, origin: string): string => {
  const { info, paths, tags, components } = record(document);
  const operations = Object.entries(record(paths)).flatMap(([path, item]) =>
    Object.entries(record(item)).map(([method, value]) => ({
      tag: string(list(record(value).tags)[0]),
      html: operation(method, path, value),
    })),
  );
  const names = list(tags).map((tag) => string(record(tag).name));
  const sections = names.map(
    (name) =>
      `<h2 id="${name}">${name}</h2>${operations
        .filter(({ tag }) => tag === name)
        .map(({ html }) => html)
        .join("")}`,
  );
  const schemas = Object.entries(record(record(components).schemas))
    .map(
      ([name, schema]) =>
        `<details id="schema-${escaped(name)}"><summary><code>${escaped(name)}</code></summary>${schemaTable(record(schema), "optional")}</details>`,
    )
    .join("");
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(string(record(info).title))} API</title><style>${docsStyle}</style></head><body><main>
<h1>${escaped(string(record(info).title))} API</h1>${prose(string(record(info).description))}
<pre>curl ${escaped(origin)}/v1/prompts \\
  -H "Authorization: Bearer $KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"prompt": "Say hello"}'</pre>
<nav>${[...names, "schemas", "errors"].map((name) => `<a href="#${name}">${name}</a>`).join(" ")} <a href="/openapi.json">OpenAPI</a></nav>
${sections.join("")}<h2 id="schemas">Schemas</h2>${schemas}
<h2 id="errors">Errors</h2><table><tr><th>Code</th><th>HTTP</th><th>JSON-RPC</th></tr>${errorRows()}</table></main></body></html>`;
};
