// Prints each completed submission of a form as it comes, from the oldest that the log has; docs/guides/watch.md explains it. What must
// outlive this program is stored together with the token, as ../watch/watcher.py does.
//
// usage: node watch.js ADDRESS FORM
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { SubmissionService, WatchStart } from "./gen/tallyd/v1/submission_service_pb.js";

const [address, formId] = process.argv.slice(2);
// Pings notice a server that died without a word.
const transport = createGrpcTransport({ baseUrl: `http://${address}`, pingIntervalMs: 30_000 });
const submissions = createClient(SubmissionService, transport);

// Another call would end like this one.
const hopeless = [Code.InvalidArgument, Code.NotFound, Code.OutOfRange, Code.FailedPrecondition, Code.PermissionDenied,
  Code.Unauthenticated, Code.Unimplemented];

let start = { case: "startAt", value: WatchStart.EARLIEST };
for (let pause = 100; ; pause = Math.min(2 * pause, 5000)) {
  try {
    for await (const { resumeToken, message } of submissions.watchSubmissions({ formIds: [formId], start })) {
      pause = 50;
      start = { case: "resumeToken", value: resumeToken };
      if (message.case !== "event") continue; // a heartbeat
      const { sequence, event } = message.value;
      if (event.case === "submission") console.log(`submission ${sequence}: ${event.value.id}`);
      if (event.case === "deleted") console.log(`deleted ${sequence}: ${event.value.submissionId}`);
      if (event.case === "gap") console.log(`lost: events ${event.value.firstSequence} to ${event.value.lastSequence}`);
    }
  } catch (error) {
    if (hopeless.includes(ConnectError.from(error).code)) throw error;
    await sleep(pause * (0.5 + 0.5 * Math.random()));
  }
}
