// Bundles the page: node bundle.mjs WASM_FOLDER OUT_FOLDER
//
// WASM_FOLDER holds what wasm-bindgen wrote (`neptune-web-ui.js`, `neptune-web-ui_bg.wasm`). OUT_FOLDER gets every
// file the server embeds, each beside its `.br` and `.gz` where those are smaller, and `manifest.json`, which
// `server/http` reads. The layout is described in README.md, section "Build". No inline script or style is written,
// so that the page runs under `script-src 'self' 'wasm-unsafe-eval'; style-src 'self'`.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, extname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

import { build } from "esbuild";

const CONTENT_TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".webp": "image/webp",
  ".woff2": "font/woff2",
};

const here = dirname(fileURLToPath(import.meta.url));
const [wasmFolder, outFolder] = process.argv.slice(2).map((path) => resolve(path));

/** Runs esbuild; answers its output files as [path under the root, bytes] and the three addresses the page names. */
async function bundle() {
  const result = await build({
    absWorkingDir: here,
    entryPoints: ["js/main.ts"],
    alias: { "@neptune/wasm": wasmFolder, "@neptune/js": join(here, "js") },
    nodePaths: [join(here, "node_modules")],
    loader: { ".wasm": "file", ".svg": "file", ".png": "file", ".woff2": "file" },
    bundle: true,
    splitting: true,
    format: "esm",
    target: ["es2022"],
    minify: true,
    legalComments: "inline",
    charset: "utf8",
    outdir: join(outFolder, "assets"),
    publicPath: "/assets",
    entryNames: "[name]-[hash]",
    chunkNames: "[name]-[hash]",
    assetNames: "[name]-[hash]",
    metafile: true,
    write: false,
    logLevel: "warning",
  });
  const files = result.outputFiles.map((file) => [relative(outFolder, file.path), Buffer.from(file.contents)]);
  const named = (pattern) => {
    const found = files.map(([path]) => path).filter((path) => pattern.test(path));
    if (found.length !== 1) throw new Error(`expected one file like ${pattern}, found ${JSON.stringify(found)}`);
    return `/${found[0]}`;
  };
  const addresses = {
    script: named(/^assets\/main-\w+\.js$/),
    style: named(/^assets\/main-\w+\.css$/),
    wasm: named(/^assets\/.*\.wasm$/),
  };
  return { files, addresses };
}

/** The page's own HTML with the three addresses filled in. */
function page(addresses) {
  const html = readFileSync(join(here, "index.html"), "utf8");
  return Buffer.from(html.replace(/%(\w+)%/g, (whole, name) => addresses[name] ?? whole));
}

/** Every file under `static/`, as [path under the root, bytes]. */
function staticFiles() {
  const folder = join(here, "static");
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .map((path) => [relative(folder, path), readFileSync(path)]);
}

/** Writes one file with its compressed forms; answers its line of the manifest. */
function place(path, bytes) {
  const contentType = CONTENT_TYPES[extname(path)];
  if (!contentType) throw new Error(`${path}: no content type for "${extname(path)}"; add it to bundle.mjs`);
  const target = join(outFolder, path);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, bytes);

  const brotli = brotliCompressSync(bytes, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  });
  const encodings = [];
  for (const [name, suffix, packed] of [["br", ".br", brotli], ["gzip", ".gz", gzipSync(bytes, { level: 9 })]]) {
    if (packed.length >= bytes.length) continue;
    writeFileSync(target + suffix, packed);
    encodings.push(name);
  }
  return {
    path,
    content_type: contentType,
    etag: createHash("sha256").update(bytes).digest("hex").slice(0, 32),
    size_bytes: bytes.length,
    encodings,
    immutable: path.startsWith("assets/"),
  };
}

rmSync(outFolder, { recursive: true, force: true });
const { files, addresses } = await bundle();
const lines = [...files, ["index.html", page(addresses)], ...staticFiles()]
  .sort(([left], [right]) => (left < right ? -1 : 1))
  .map(([path, bytes]) => place(path, bytes));
writeFileSync(join(outFolder, "manifest.json"), JSON.stringify({ files: lines }, null, 1) + "\n");

for (const line of lines) {
  console.log(`${basename(line.path)}: ${line.size_bytes} bytes, ${line.encodings.join(" and ") || "not compressed"}`);
}
