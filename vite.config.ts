import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** The chat room. Everything is a file of its own origin: no inline script or style, as its security policy demands. */
export default defineConfig({
  base: "/chat/",
  plugins: [react()],
  logLevel: "warn",
  build: {
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
