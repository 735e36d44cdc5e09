// A Timesheets API and authorization server that is not ours: express, an
// opaque token, the plain contract and nothing else. What the client needs
// beyond this, it must not need.
//
// It listens on a free port of 127.0.0.1, prints {"port": N} on one line and
// ends when its standard input does, so that no test leaves it behind.
"use strict";

const crypto = require("node:crypto");
const express = require("express");

const clientID = process.env.FOREIGN_CLIENT_ID || "machine";
const clientSecret = process.env.FOREIGN_CLIENT_SECRET || "secret";
const audience = process.env.FOREIGN_AUDIENCE || "https://timesheets.example.com/api";
const scope = "batch:upload";
const lifetime = 3600; // seconds

const app = express();
app.disable("x-powered-by");

const tokens = new Map(); // token -> end of its life, in milliseconds
const bodies = []; // uploads, in the order of arrival
let tokenRequests = 0;

function origin(req) {
  return `http://127.0.0.1:${req.socket.localPort}`;
}

// Only OpenID Connect's discovery document, as some providers have it; with a
// slash at the end of the issuer, as some have that too.
app.get("/.well-known/openid-configuration", (req, res) => {
  res.json({
    issuer: `${origin(req)}/`,
    token_endpoint: `${origin(req)}/oauth/token`,
    token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
    grant_types_supported: ["client_credentials"],
    scopes_supported: [scope],
  });
});

// RFC 6749, section 2.3.1: both halves are form-encoded before base64.
function formDecode(text) {
  return decodeURIComponent(text.replace(/\+/g, " "));
}

function credentials(req) {
  const header = req.get("authorization");
  if (header === undefined) {
    return [req.body.client_id, req.body.client_secret];
  }
  const match = /^Basic ([A-Za-z0-9+/]+=*)$/i.exec(header);
  if (match === null) {
    return [];
  }
  const pair = Buffer.from(match[1], "base64").toString("utf8");
  const colon = pair.indexOf(":");
  return [formDecode(pair.slice(0, colon)), formDecode(pair.slice(colon + 1))];
}

app.post("/oauth/token", express.urlencoded({ extended: false }), (req, res) => {
  tokenRequests += 1;
  res.set("Cache-Control", "no-store");
  if (req.body === undefined || req.body.grant_type !== "client_credentials") {
    return res.status(400).json({ error: "unsupported_grant_type" });
  }
  const [id, secret] = credentials(req);
  if (id !== clientID || secret !== clientSecret) {
    return res.status(401).set("WWW-Authenticate", 'Basic realm="token"').json({ error: "invalid_client" });
  }
  if (req.body.audience !== audience) {
    return res.status(403).json({ error: "access_denied", error_description: "unknown audience" });
  }
  if (req.body.scope !== undefined && req.body.scope !== scope) {
    return res.status(400).json({ error: "invalid_scope" });
  }
  const token = crypto.randomBytes(32).toString("base64url");
  tokens.set(token, Date.now() + lifetime * 1000);
  return res.json({ access_token: token, token_type: "Bearer", expires_in: lifetime, scope });
});

function bearer(req, res, next) {
  const header = req.get("authorization");
  if (header === undefined) {
    return res.status(401).set("WWW-Authenticate", "Bearer").json({ message: "no token" });
  }
  const match = /^Bearer ([A-Za-z0-9._~+/-]+=*)$/i.exec(header);
  if (match === null || !(tokens.get(match[1]) > Date.now())) {
    return res.status(401).set("WWW-Authenticate", 'Bearer error="invalid_token"').json({ message: "invalid token" });
  }
  return next();
}

const fields = {
  user_id: "string",
  user_type: "string",
  date: "string",
  project: "string",
  hours: "number",
};

// fault names what the plain contract does not know, or misses.
function fault(req) {
  const body = req.body;
  if (body === undefined || body === null || typeof body !== "object" || Array.isArray(body)) {
    return "the body is not one JSON object";
  }
  if (req.get("idempotency-key") !== undefined) {
    return "unexpected header Idempotency-Key";
  }
  for (const name of Object.keys(body)) {
    if (!Object.hasOwn(fields, name)) {
      return `unexpected field ${name}`;
    }
  }
  for (const [name, type] of Object.entries(fields)) {
    if (typeof body[name] !== type) {
      return `${name} is not a ${type}`;
    }
  }
  if (!/^\d{4}-\d{2}-\d{2}T00:00:00\.000Z$/.test(body.date)) {
    return "date is not a day";
  }
  return "";
}

app.post("/timesheets/upload", bearer, express.json(), (req, res) => {
  const message = fault(req);
  if (message !== "") {
    return res.status(400).json({ message });
  }
  bodies.push(req.body);
  return res.status(201).json(req.body);
});

// For the test: what arrived.
app.get("/count", (req, res) => {
  res.json({ count: bodies.length, token_requests: tokenRequests, bodies });
});

const server = app.listen(0, "127.0.0.1", (err) => {
  if (err) {
    throw err;
  }
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
});

process.stdin.on("end", () => process.exit(0));
process.stdin.resume();
