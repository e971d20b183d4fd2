// What the build puts under `@neptune/wasm/`: the glue that wasm-bindgen writes, and the address of the module.

declare module "@neptune/wasm/neptune-web-ui.js" {
  export default function init(options: { module_or_path: string }): Promise<unknown>;
}

declare module "@neptune/wasm/neptune-web-ui_bg.wasm" {
  const url: string;
  export default url;
}
