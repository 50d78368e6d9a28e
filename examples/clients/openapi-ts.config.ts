export default {
  input: "openapi.json",
  output: { path: "client", module: { extension: ".js" } }, // Node resolves no import without one
  plugins: ["@hey-api/client-fetch"],
};
