// What a client of tallyd does, step by step, with Connect's gRPC transport; docs/clients.md explains it.
//
// usage: node connect.js ADDRESS [DIR]
// With DIR by TLS: ca.crt there says whom to trust, tls.crt and tls.key who this client is. TALLYD_TOKEN may hold a bearer token.
// What is below gen/ is generated from `tallyd proto --descriptor-set`: see generate.sh.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Code as CodeName } from "./gen/google/rpc/code_pb.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from "./gen/grpc/health/v1/health_pb.js";
import { FormService } from "./gen/tallyd/v1/form_service_pb.js";
import { FormStatusSchema } from "./gen/tallyd/v1/forms_pb.js";
import { SubmissionService } from "./gen/tallyd/v1/submission_service_pb.js";

const DEADLINE = 10_000; // milliseconds

// Connect reads no service config. The contract says which methods only read: those may be repeated. Writes are not: one that may
// have happened must not happen twice.
const retryReads = (next) => async (request) => {
  const isRead = request.method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  for (let wait = 200, left = isRead ? 2 : 0; ; wait *= 2, left--) {
    try {
      return await next(request);
    } catch (error) {
      if (left === 0 || ConnectError.from(error).code !== Code.Unavailable) throw error;
      await sleep(wait * (0.8 + 0.4 * Math.random()), undefined, { signal: request.signal });
    }
  }
};

function connect(address, tls) {
  if (!tls) return createGrpcTransport({ baseUrl: `http://${address}`, interceptors: [retryReads] });
  const [ca, key, cert] = ["ca.crt", "tls.key", "tls.crt"].map((name) => readFileSync(`${tls}/${name}`));
  return createGrpcTransport({ baseUrl: `https://${address}`, interceptors: [retryReads], nodeOptions: { ca, key, cert } });
}

async function listForms(forms) {
  const found = [];
  let pages = 0, pageToken = "";
  do {
    const page = await forms.listForms({ pageSize: 5, pageToken }, { timeoutMs: DEADLINE });
    found.push(...page.forms);
    pages++, pageToken = page.nextPageToken;
  } while (pageToken);
  console.log(`list: ${found.length} forms on ${pages} pages`);
}

async function showForm(forms, formId) {
  const { form } = await forms.getForm({ formId }, { timeoutMs: DEADLINE });
  const status = FormStatusSchema.value[form.status].name;
  console.log(`get: ${form.id}, ${form.name}, ${status}, ${form.submissionCount} submissions`);
}

// Prints the newest submission of a form; each answer is typed by its question.
async function showAnswers(submissions, formId) {
  const page = await submissions.listSubmissions({ formId, pageSize: 1 }, { timeoutMs: DEADLINE });
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

async function showError(forms, formId) {
  try {
    await forms.getForm({ formId }, { timeoutMs: DEADLINE });
  } catch (error) {
    const [info] = error.findDetails(ErrorInfoSchema);
    let line = `error: ${CodeName[error.code]} ${info.reason} says ${info.domain}, outcome ${info.metadata.outcome}`;
    for (const { fieldViolations } of error.findDetails(BadRequestSchema)) {
      for (const violation of fieldViolations) line += `, field ${violation.field}`;
    }
    for (const { retryDelay } of error.findDetails(RetryInfoSchema)) line += `, try again in ${retryDelay.seconds} s`;
    console.log(line);
  }
}

async function tooLate(forms) {
  // Tally is slow with QuizMe.
  await forms.getForm({ formId: "QuizMe" }, { timeoutMs: 300 })
    .catch((error) => console.log(`deadline: ${CodeName[error.code]}`));
}

async function cancel(forms) {
  const stop = new AbortController();
  const answer = forms.getForm({ formId: "QuizMe" }, { timeoutMs: DEADLINE, signal: stop.signal })
    .catch((error) => console.log(`cancel: ${CodeName[error.code]}`));
  await sleep(500);
  stop.abort();
  await answer;
}

async function showMetadata(forms) {
  const headers = new Headers({ "x-request-id": "example-1" });
  const token = process.env.TALLYD_TOKEN;
  if (token) headers.set("authorization", "Bearer " + token);
  const onTrailer = (trailers) => console.log(
    `metadata: tallyd-request-id ${trailers.get("tallyd-request-id")}, tallyd-cost ${trailers.get("tallyd-cost")}`);
  await forms.getForm({ formId: "Contct" }, { timeoutMs: DEADLINE, headers, onTrailer });
}

async function showHealth(health) {
  const { status } = await health.check({}, { timeoutMs: DEADLINE });
  console.log(`health: ${ServingStatus[status]}`);
  for await (const answer of health.watch({})) {
    console.log(`watch: ${ServingStatus[answer.status]}`);
    break; // which cancels the stream
  }
}

const [address, tls] = process.argv.slice(2);
const transport = connect(address, tls);
const forms = createClient(FormService, transport);
const submissions = createClient(SubmissionService, transport);
await listForms(forms);
await showForm(forms, "Feedbk");
for (const formId of ["Feedbk", "Holidy"]) await showAnswers(submissions, formId);
for (const formId of ["nosuch", "../me", "Raffle"]) await showError(forms, formId);
// Tally fails twice here, and so does the first call: the interceptor repeats it.
console.log(`retry: ${(await forms.getForm({ formId: "Holidy" }, { timeoutMs: DEADLINE })).form.id}`);
await tooLate(forms);
await cancel(forms);
await showMetadata(forms);
await showHealth(createClient(Health, transport));
process.exit(); // the transport keeps its connection, and so the program, a while longer
