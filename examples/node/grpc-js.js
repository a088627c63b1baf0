// What a client of tallyd does, step by step, with @grpc/grpc-js; docs/clients.md explains it.
//
// usage: node grpc-js.js ADDRESS [DIR]
// With DIR by TLS: ca.crt there says whom to trust, tls.crt and tls.key who this client is. TALLYD_TOKEN may hold a bearer token.
// What is below gen/ is generated from `tallyd proto --descriptor-set`: see generate.sh.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import grpc from "@grpc/grpc-js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from "./gen/grpc/health/v1/health_pb.js";
import { FormService } from "./gen/tallyd/v1/form_service_pb.js";
import { FormStatusSchema } from "./gen/tallyd/v1/forms_pb.js";
import { SubmissionService } from "./gen/tallyd/v1/submission_service_pb.js";

const DEADLINE = 10_000; // milliseconds

// Reads may be repeated. Writes are not named: one that may have happened must not happen twice.
const serviceConfig = { methodConfig: [{
  name: [
    { service: "tallyd.v1.FormService", method: "GetForm" },
    { service: "tallyd.v1.FormService", method: "ListForms" },
    { service: "tallyd.v1.SubmissionService", method: "ListSubmissions" },
  ],
  retryPolicy: {
    maxAttempts: 3, initialBackoff: "0.2s", maxBackoff: "2s", backoffMultiplier: 2,
    retryableStatusCodes: ["UNAVAILABLE"],
  },
}] };
const options = { "grpc.service_config": JSON.stringify(serviceConfig) };

function credentials(tls) {
  if (!tls) return grpc.credentials.createInsecure();
  const [ca, key, cert] = ["ca.crt", "tls.key", "tls.crt"].map((name) => readFileSync(`${tls}/${name}`));
  return grpc.credentials.createSsl(ca, key, cert);
}

// Makes the class of a service's clients; what is generated knows the methods and their messages.
function clientOf(service) {
  const methods = service.methods.map((method) => [method.localName, {
    path: `/${service.typeName}/${method.name}`,
    requestStream: false,
    responseStream: method.methodKind === "server_streaming",
    requestSerialize: (request) => Buffer.from(toBinary(method.input, create(method.input, request))),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  }]);
  return grpc.makeClientConstructor(Object.fromEntries(methods), service.name);
}

// Makes a unary call and returns the answer; `started` gets the call, to cancel it or to read its trailers.
function unary(client, method, request, { deadline = DEADLINE, metadata = new grpc.Metadata(), started } = {}) {
  return new Promise((resolve, reject) => {
    const call = client[method](request, metadata, { deadline: Date.now() + deadline },
      (error, answer) => error ? reject(error) : resolve(answer));
    started?.(call);
  });
}

async function listForms(forms) {
  const found = [];
  let pages = 0, pageToken = "";
  do {
    const page = await unary(forms, "listForms", { pageSize: 5, pageToken });
    found.push(...page.forms);
    pages++, pageToken = page.nextPageToken;
  } while (pageToken);
  console.log(`list: ${found.length} forms on ${pages} pages`);
}

async function showForm(forms, formId) {
  const { form } = await unary(forms, "getForm", { formId });
  const status = FormStatusSchema.value[form.status].name;
  console.log(`get: ${form.id}, ${form.name}, ${status}, ${form.submissionCount} submissions`);
}

// Prints the newest submission of a form; each answer is typed by its question.
async function showAnswers(submissions, formId) {
  const page = await unary(submissions, "listSubmissions", { formId, pageSize: 1 });
  const titles = new Map(page.questions.map((question) => [question.id, question.title]));
  const two = (number) => String(number).padStart(2, "0");
  const typed = {
    text: (text) => text,
    number: (number) => number.toFixed(1),
    date: ({ year, month, day }) => `${year}-${two(month)}-${two(day)}`,
    choices: ({ choices }) => choices.map((choice) => choice.label).join(", "),
  };
  for (const response of page.submissions[0].responses) {
    const answer = typed[response.answer.case]?.(response.answer.value) ?? "of another kind";
    console.log(`answer: ${titles.get(response.questionId) || response.questionType}: ${answer}`);
  }
}

// Returns the details of one type that an error holds.
function details(error, schema) {
  return error.metadata.get("grpc-status-details-bin")
    .flatMap((bytes) => fromBinary(StatusSchema, bytes).details)
    .map((packed) => anyUnpack(packed, schema))
    .filter((detail) => detail !== undefined);
}

async function showError(forms, formId) {
  try {
    await unary(forms, "getForm", { formId });
  } catch (error) {
    const [info] = details(error, ErrorInfoSchema);
    let line = `error: ${grpc.status[error.code]} ${info.reason} says ${info.domain}, outcome ${info.metadata.outcome}`;
    for (const { fieldViolations } of details(error, BadRequestSchema)) {
      for (const violation of fieldViolations) line += `, field ${violation.field}`;
    }
    for (const { retryDelay } of details(error, RetryInfoSchema)) line += `, try again in ${retryDelay.seconds} s`;
    console.log(line);
  }
}

async function tooLate(forms) {
  // Tally is slow with QuizMe.
  await unary(forms, "getForm", { formId: "QuizMe" }, { deadline: 300 })
    .catch((error) => console.log(`deadline: ${grpc.status[error.code]}`));
}

async function cancel(forms) {
  let call;
  const answer = unary(forms, "getForm", { formId: "QuizMe" }, { started: (it) => { call = it; } })
    .catch((error) => console.log(`cancel: ${grpc.status[error.code]}`));
  await sleep(500);
  call.cancel();
  await answer;
}

async function showMetadata(forms) {
  const metadata = new grpc.Metadata();
  metadata.set("x-request-id", "example-1");
  const token = process.env.TALLYD_TOKEN;
  if (token) metadata.set("authorization", "Bearer " + token);
  const trailers = await new Promise((resolve, reject) => {
    const started = (call) => call.on("status", (status) => resolve(status.metadata));
    unary(forms, "getForm", { formId: "Contct" }, { metadata, started }).catch(reject);
  });
  console.log(`metadata: tallyd-request-id ${trailers.get("tallyd-request-id")}, tallyd-cost ${trailers.get("tallyd-cost")}`);
}

async function showHealth(client) {
  const { status } = await unary(client, "check", {});
  console.log(`health: ${ServingStatus[status]}`);
  const stream = client.watch({});
  stream.on("error", () => {}); // our own cancellation, below
  for await (const answer of stream) {
    console.log(`watch: ${ServingStatus[answer.status]}`);
    break;
  }
  stream.cancel();
}

const [address, tls] = process.argv.slice(2);
const forms = new (clientOf(FormService))(address, credentials(tls), options);
const submissions = new (clientOf(SubmissionService))(address, credentials(tls), options);
await listForms(forms);
await showForm(forms, "Feedbk");
for (const formId of ["Feedbk", "Holidy"]) await showAnswers(submissions, formId);
for (const formId of ["nosuch", "../me", "Raffle"]) await showError(forms, formId);
// Tally fails twice here, and so does the first call: the channel repeats it.
console.log(`retry: ${(await unary(forms, "getForm", { formId: "Holidy" })).form.id}`);
await tooLate(forms);
await cancel(forms);
await showMetadata(forms);
await showHealth(new (clientOf(Health))(address, credentials(tls)));
