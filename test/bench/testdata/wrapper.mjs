// A wrapper of the REST API as a service in Node would have it: fetch over connections that stay open, parse, pick the fields by
// name, answer with JSON. UPSTREAM is where Tally is.
import http from "node:http";

const upstream = process.env.UPSTREAM;
const agent = new http.Agent({ keepAlive: true, maxFreeSockets: 128 });

const form = (f) => ({
  id: f.id,
  name: f.name,
  isNameModifiedByUser: f.isNameModifiedByUser,
  workspaceId: f.workspaceId,
  organizationId: f.organizationId,
  status: f.status,
  hasDraftBlocks: f.hasDraftBlocks,
  numberOfSubmissions: f.numberOfSubmissions,
  isClosed: f.isClosed,
  createdAt: f.createdAt,
  updatedAt: f.updatedAt,
  settings: f.settings,
  blocks: f.blocks.map((b) => ({
    uuid: b.uuid,
    type: b.type,
    groupUuid: b.groupUuid,
    groupType: b.groupType,
    payload: b.payload,
  })),
});

const page = (p) => ({
  hasMore: p.hasMore,
  totalNumberOfSubmissionsPerFilter: p.totalNumberOfSubmissionsPerFilter,
  questions: p.questions.map((q) => ({
    id: q.id,
    type: q.type,
    title: q.title,
    formId: q.formId,
    numberOfResponses: q.numberOfResponses,
    createdAt: q.createdAt,
    updatedAt: q.updatedAt,
  })),
  submissions: p.submissions.map((s) => ({
    id: s.id,
    formId: s.formId,
    respondentId: s.respondentId,
    isCompleted: s.isCompleted,
    submittedAt: s.submittedAt,
    responses: s.responses.map((r) => ({ id: r.id, questionId: r.questionId, answer: r.answer })),
  })),
});

const fail = (res) => {
  res.writeHead(502);
  res.end();
};

const server = http.createServer((req, res) => {
  const typed = req.url.includes("/submissions") ? page : form;
  const onward = http.get(upstream + req.url, { agent }, (answer) => {
    const chunks = [];
    answer.on("data", (chunk) => chunks.push(chunk));
    answer.on("error", () => fail(res));
    answer.on("end", () => {
      const body = Buffer.from(JSON.stringify(typed(JSON.parse(Buffer.concat(chunks)))));
      res.writeHead(200, { "Content-Type": "application/json", "Content-Length": body.length });
      res.end(body);
    });
  });
  onward.on("error", () => fail(res));
});

server.listen(0, "127.0.0.1", () => console.log(`ready at 127.0.0.1:${server.address().port}`));
process.stdin.on("end", () => process.exit()).resume();
