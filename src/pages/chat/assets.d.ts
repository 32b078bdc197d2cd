declare module "*.css";

declare module "*.svg" {
  const address: string;
  // biome-ignore lint/style/noDefaultExport: it is how Vite gives addresses
  export default address;
}
