// What a client of tallyd does, step by step; docs/clients.md explains it.
//
// usage: client ADDRESS [DIR]
// With DIR by TLS: ca.crt there says whom to trust, tls.crt and tls.key who this client is. TALLYD_TOKEN may hold a bearer token.
// What is below gen/ is generated from `tallyd proto --descriptor-set`: see generate.sh.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <future>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <grpcpp/grpcpp.h>

#include "google/rpc/code.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tallyd/v1/form_service.grpc.pb.h"
#include "tallyd/v1/submission_service.grpc.pb.h"

namespace tally = tallyd::v1;
namespace health = grpc::health::v1;
using namespace std::chrono_literals;

// Reads may be repeated. Writes are not named: one that may have happened must not happen twice.
const char kServiceConfig[] = R"({"methodConfig": [{
  "name": [
    {"service": "tallyd.v1.FormService", "method": "GetForm"},
    {"service": "tallyd.v1.FormService", "method": "ListForms"},
    {"service": "tallyd.v1.SubmissionService", "method": "ListSubmissions"}
  ],
  "retryPolicy": {
    "maxAttempts": 3, "initialBackoff": "0.2s", "maxBackoff": "2s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]
  }
}]})";

std::string read_file(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::shared_ptr<grpc::Channel> connect(const std::string& address, const char* tls) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  if (tls == nullptr) return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  const std::string dir = tls, ca = read_file(dir + "/ca.crt"), key = read_file(dir + "/tls.key"), cert = read_file(dir + "/tls.crt");
  return grpc::CreateCustomChannel(address, grpc::SslCredentials({ca, key, cert}), arguments);
}

// The names of the codes, which are the same for all languages.
std::string name_of(const grpc::Status& status) {
  return google::rpc::Code_Name(static_cast<google::rpc::Code>(status.error_code()));
}

void check(const grpc::Status& status) {
  if (!status.ok()) throw std::runtime_error(name_of(status) + ": " + status.error_message());
}

constexpr auto kDeadline = 10s;

grpc::Status get_form(tally::FormService::Stub& forms, const std::string& form_id, tally::Form* form,
                      std::chrono::milliseconds deadline = kDeadline) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + deadline);
  tally::GetFormRequest request;
  request.set_form_id(form_id);
  tally::GetFormResponse response;
  const grpc::Status status = forms.GetForm(&context, request, &response);
  form->Swap(response.mutable_form());
  return status;
}

void list_forms(tally::FormService::Stub& forms) {
  tally::ListFormsRequest request;
  request.set_page_size(5);
  int found = 0, pages = 0;
  do {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kDeadline);
    tally::ListFormsResponse page;
    check(forms.ListForms(&context, request, &page));
    found += page.forms_size();
    pages++;
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  std::cout << "list: " << found << " forms on " << pages << " pages\n";
}

void show_form(tally::FormService::Stub& forms, const std::string& form_id) {
  tally::Form form;
  check(get_form(forms, form_id, &form));
  std::cout << "get: " << form.id() << ", " << form.name() << ", " << tally::FormStatus_Name(form.status()) << ", "
            << form.submission_count() << " submissions\n";
}

// Each answer is typed by its question.
std::string answer_of(const tally::QuestionResponse& response) {
  char text[32];
  std::string labels;
  switch (response.answer_case()) {
    case tally::QuestionResponse::kText:
      return response.text();
    case tally::QuestionResponse::kNumber:
      std::snprintf(text, sizeof text, "%.1f", response.number());
      return text;
    case tally::QuestionResponse::kDate:
      std::snprintf(text, sizeof text, "%d-%02d-%02d", response.date().year(), response.date().month(), response.date().day());
      return text;
    case tally::QuestionResponse::kChoices:
      for (const auto& choice : response.choices().choices()) labels += (labels.empty() ? "" : ", ") + choice.label();
      return labels;
    default:
      return "of another kind";
  }
}

// Prints the newest submission of a form.
void show_answers(tally::SubmissionService::Stub& submissions, const std::string& form_id) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  tally::ListSubmissionsRequest request;
  request.set_form_id(form_id);
  request.set_page_size(1);
  tally::ListSubmissionsResponse page;
  check(submissions.ListSubmissions(&context, request, &page));
  std::map<std::string, std::string> titles;
  for (const auto& question : page.questions()) titles[question.id()] = question.title();
  for (const auto& response : page.submissions(0).responses()) {
    const std::string& title = titles[response.question_id()];
    std::cout << "answer: " << (title.empty() ? response.question_type() : title) << ": " << answer_of(response) << "\n";
  }
}

// Finds the detail of one type that an error holds.
template <typename Detail>
std::optional<Detail> detail_of(const grpc::Status& error) {
  google::rpc::Status status;
  status.ParseFromString(error.error_details());
  Detail detail;
  for (const auto& packed : status.details()) {
    if (packed.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}

void show_error(tally::FormService::Stub& forms, const std::string& form_id) {
  tally::Form form;
  const grpc::Status error = get_form(forms, form_id, &form);
  const auto info = detail_of<google::rpc::ErrorInfo>(error).value();
  std::cout << "error: " << name_of(error) << " " << info.reason() << " says " << info.domain() << ", outcome "
            << info.metadata().at("outcome");
  if (const auto bad = detail_of<google::rpc::BadRequest>(error)) {
    for (const auto& violation : bad->field_violations()) std::cout << ", field " << violation.field();
  }
  if (const auto retry = detail_of<google::rpc::RetryInfo>(error)) {
    std::cout << ", try again in " << retry->retry_delay().seconds() << " s";
  }
  std::cout << "\n";
}

void show_retry(tally::FormService::Stub& forms, const std::string& form_id) {
  tally::Form form;
  check(get_form(forms, form_id, &form));
  std::cout << "retry: " << form.id() << "\n";
}

void too_late(tally::FormService::Stub& forms) {
  // Tally is slow with QuizMe.
  tally::Form form;
  std::cout << "deadline: " << name_of(get_form(forms, "QuizMe", &form, 300ms)) << "\n";
}

void cancel(tally::FormService::Stub& forms) {
  grpc::ClientContext context;
  tally::GetFormRequest request;
  request.set_form_id("QuizMe");
  tally::GetFormResponse response;
  auto status = std::async(std::launch::async, [&] { return forms.GetForm(&context, request, &response); });
  std::this_thread::sleep_for(500ms);
  context.TryCancel();
  std::cout << "cancel: " << name_of(status.get()) << "\n";
}

void show_metadata(tally::FormService::Stub& forms) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  context.AddMetadata("x-request-id", "example-1");
  const char* given = std::getenv("TALLYD_TOKEN");
  const std::string token = given == nullptr ? "" : given;
  if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
  tally::GetFormRequest request;
  request.set_form_id("Contct");
  tally::GetFormResponse response;
  check(forms.GetForm(&context, request, &response));
  const auto& trailers = context.GetServerTrailingMetadata();
  std::cout << "metadata: tallyd-request-id " << trailers.find("tallyd-request-id")->second << ", tallyd-cost "
            << trailers.find("tallyd-cost")->second << "\n";
}

void show_health(health::Health::Stub& stub) {
  health::HealthCheckResponse answer;
  grpc::ClientContext checking;
  checking.set_deadline(std::chrono::system_clock::now() + kDeadline);
  check(stub.Check(&checking, {}, &answer));
  std::cout << "health: " << health::HealthCheckResponse::ServingStatus_Name(answer.status()) << "\n";
  grpc::ClientContext watching;
  const auto stream = stub.Watch(&watching, {});
  if (stream->Read(&answer)) {
    std::cout << "watch: " << health::HealthCheckResponse::ServingStatus_Name(answer.status()) << "\n";
  }
  watching.TryCancel();
  stream->Finish();
}

int main(int count, char** arguments) {
  if (count < 2) return 2;
  const auto channel = connect(arguments[1], count > 2 ? arguments[2] : nullptr);
  tally::FormService::Stub forms(channel);
  tally::SubmissionService::Stub submissions(channel);
  list_forms(forms);
  show_form(forms, "Feedbk");
  for (const char* form_id : {"Feedbk", "Holidy"}) show_answers(submissions, form_id);
  for (const char* form_id : {"nosuch", "../me", "Raffle"}) show_error(forms, form_id);
  // Tally fails twice here, and so does the first call: the channel repeats it.
  show_retry(forms, "Holidy");
  too_late(forms);
  cancel(forms);
  show_metadata(forms);
  health::Health::Stub health(channel);
  show_health(health);
}
