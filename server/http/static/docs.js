// Draws /api/openapi.json. Text goes in as text, never as markup, so nothing in the document can become script.

const METHODS = ["get", "post", "put", "patch", "delete"];
/** Schemas inside schemas are opened to this depth; deeper ones are named. */
const DEPTH = 4;

/** Makes an element: attributes as given, children as nodes or text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Text with `code` in it, as the document's descriptions have it. */
function prose(text) {
  return text.split(/`([^`]*)`/).map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

function paragraphs(text, attributes) {
  return (text ?? "").split(/\n\s*\n/).filter(Boolean).map((part) => make("p", attributes, prose(part)));
}

const answer = await fetch("/api/openapi.json");
const api = await answer.json();

const nameOf = (schema) => schema?.$ref?.split("/").pop();
const resolve = (schema) => {
  const name = nameOf(schema);
  return name ? api.components.schemas[name] : schema;
};

/** A schema in a word or two: `string`, `Job`, `array of Channel`. */
function typeOf(schema) {
  if (!schema) return "any";
  if (schema.$ref) return nameOf(schema);
  const variants = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (variants) return variants.map(typeOf).join(schema.allOf ? " and " : " or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const types = [schema.type].flat().filter(Boolean);
  return types.map((type) => (type === "array" ? `array of ${typeOf(schema.items)}` : type)).join(" or ") || "any";
}

/** What is said of a field: by itself, by one of its variants, or by its type. */
function aboutField(schema) {
  const variants = schema.oneOf ?? schema.anyOf ?? [];
  return schema.description ?? variants.find(({ description }) => description)?.description ?? resolve(schema)?.description ?? "";
}

/** The fields of a schema as a list that opens; null when there is nothing to open. */
function fieldsOf(schema, depth = 0, seen = []) {
  const name = nameOf(schema);
  if (depth > DEPTH || (name && seen.includes(name))) return null;
  const inside = name ? [...seen, name] : seen;
  const plain = resolve(schema) ?? {};
  if (plain.type === "array" || plain.type?.includes?.("array")) return fieldsOf(plain.items, depth, inside);
  const lists = (plain.oneOf ?? plain.anyOf ?? plain.allOf ?? [])
    .map((variant) => fieldsOf(variant, depth, inside))
    .filter(Boolean);
  const fields = Object.entries(plain.properties ?? {}).map(([key, value]) => {
    const deeper = fieldsOf(value, depth + 1, inside);
    const line = [
      make("code", {}, key),
      " ",
      make("span", { class: "type quiet" }, typeOf(value) + (plain.required?.includes(key) ? "" : ", optional")),
      " ",
      make("span", {}, prose(aboutField(value))),
    ];
    return make("div", {}, deeper ? make("details", {}, make("summary", {}, line), deeper) : line);
  });
  if (fields.length) lists.push(make("div", { class: "fields" }, fields));
  return lists.length ? make("div", {}, lists) : null;
}

/** A body: its type, what it is, its fields, an example. */
function bodyOf(content) {
  return Object.entries(content ?? {}).map(([mediaType, { schema, example }]) => {
    const head = [make("code", {}, mediaType)];
    if (schema) head.push(" ", make("span", { class: "type quiet" }, typeOf(schema)));
    const shown = example ?? resolve(schema)?.examples?.[0];
    const sample = shown && typeof shown === "object" ? make("pre", {}, JSON.stringify(shown)) : null;
    const fields = schema && fieldsOf(schema);
    const opened = fields ? make("details", {}, make("summary", {}, head), fields) : make("div", {}, head);
    return make("div", {}, opened, sample);
  });
}

function parametersOf(operation) {
  const rows = (operation.parameters ?? []).map((parameter) =>
    make(
      "tr",
      {},
      make("td", {}, make("code", {}, parameter.name)),
      make("td", { class: "quiet place" }, `${parameter.in}${parameter.required ? "" : ", optional"}`),
      make(
        "td",
        {},
        make("span", { class: "type quiet" }, typeOf(parameter.schema)),
        " ",
        prose(parameter.description ?? ""),
      ),
    ),
  );
  return rows.length ? [make("h4", {}, "Parameters"), make("table", {}, make("tbody", {}, rows))] : [];
}

function answersOf(operation) {
  const rows = Object.entries(operation.responses ?? {}).map(([status, response]) =>
    make(
      "tr",
      {},
      make("td", {}, make("code", {}, status)),
      make("td", {}, prose(response.description ?? ""), bodyOf(response.content)),
    ),
  );
  return rows.length ? [make("h4", {}, "Answers"), make("table", {}, make("tbody", {}, rows))] : [];
}

/** The command line that asks for it, to be filled in. */
function commandOf(path, method, operation) {
  const parts = ["curl"];
  if (method !== "get") parts.push(`-X ${method.toUpperCase()}`);
  for (const parameter of operation.parameters ?? []) {
    if (parameter.in === "header" && parameter.required) parts.push(`-H '${parameter.name}: …'`);
  }
  const mediaType = Object.keys(operation.requestBody?.content ?? {})[0];
  if (mediaType) parts.push(`-H 'Content-Type: ${mediaType}'`, mediaType.endsWith("json") ? "-d '{…}'" : "--data-binary @FILE");
  else if (method !== "get") parts.push("-H 'Neptune-Client: curl'");
  return make("pre", {}, `${parts.join(" ")} ${location.origin}${path}`);
}

function articleOf(path, method, operation) {
  const anchor = `#${operation.operationId}`;
  const title = make(
    "h3",
    {},
    make("span", { class: `method ${method}` }, method.toUpperCase()),
    make("a", { class: "path", href: anchor }, path),
  );
  const body = operation.requestBody
    ? [make("h4", {}, "Body"), paragraphs(operation.requestBody.description), bodyOf(operation.requestBody.content)]
    : [];
  return make(
    "article",
    { id: operation.operationId },
    title,
    paragraphs(operation.summary),
    paragraphs(operation.description),
    parametersOf(operation),
    body,
    answersOf(operation),
    commandOf(path, method, operation),
  );
}

const operations = Object.entries(api.paths).flatMap(([path, item]) =>
  METHODS.filter((method) => item[method]).map((method) => ({ path, method, operation: item[method] })),
);

const index = document.getElementById("index");
const main = document.getElementById("main");
document.getElementById("loading").remove();
main.append(make("h1", {}, "REST interface"), make("p", { class: "quiet" }, api.info.version));
main.append(...paragraphs(api.info.description));

const groups = [];
for (const tag of api.tags) {
  const own = operations.filter(({ operation }) => operation.tags?.[0] === tag.name);
  if (!own.length) continue;
  const entries = own.map(({ path, method, operation }) => {
    const entry = make(
      "a",
      { class: "entry", href: `#${operation.operationId}` },
      make("span", { class: `method ${method}` }, method.toUpperCase()),
      make("span", {}, operation.operationId.replaceAll("_", " ")),
    );
    entry.title = operation.summary;
    return { entry, text: `${method} ${path} ${operation.summary}`.toLowerCase() };
  });
  const group = make("div", {}, make("h2", {}, tag.name), entries.map(({ entry }) => entry));
  groups.push({ group, entries });
  index.append(group);
  main.append(
    make(
      "section",
      {},
      make("h2", {}, tag.name),
      make("p", { class: "about" }, tag.description ?? ""),
      own.map(({ path, method, operation }) => articleOf(path, method, operation)),
    ),
  );
}
// The address may name an operation that was not there when the browser looked.
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();

const filter = document.getElementById("filter");
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const { group, entries } of groups) {
    for (const { entry, text } of entries) entry.hidden = !words.every((word) => text.includes(word));
    group.hidden = entries.every(({ entry }) => entry.hidden);
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target === filter) return;
  event.preventDefault();
  filter.focus();
});
