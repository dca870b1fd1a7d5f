// Give http://localhost:8080 a public URL on your own edge, with ngrok's JavaScript SDK.
import ngrok from "@ngrok/ngrok";

const listener = await ngrok.forward({
  addr: process.env.UPSTREAM ?? "localhost:8080",
  authtoken: process.env.PORTICO_AUTHTOKEN,
  server_addr: process.env.PORTICO_CONNECT_URL,
  root_cas: process.env.PORTICO_CONNECT_CAS,
});
console.log(listener.url());
setInterval(() => {}, 60_000); // an open listener alone does not keep Node.js running
