// Entry of the bundle: the style sheets, then the WebAssembly module, which mounts the page.
//
// Rust reaches the other modules of this folder by name:
//     #[wasm_bindgen(module = "@neptune/js/chart")]   is js/chart.ts

import "../css/main.css";
import init from "@neptune/wasm/neptune-web-ui.js";
import wasmUrl from "@neptune/wasm/neptune-web-ui_bg.wasm";

await init({ module_or_path: wasmUrl });
