import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.ChannelCredentials;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import io.tallyd.v1.Choice;
import io.tallyd.v1.Form;
import io.tallyd.v1.FormServiceGrpc;
import io.tallyd.v1.FormServiceGrpc.FormServiceBlockingStub;
import io.tallyd.v1.GetFormRequest;
import io.tallyd.v1.ListFormsRequest;
import io.tallyd.v1.ListSubmissionsRequest;
import io.tallyd.v1.Question;
import io.tallyd.v1.QuestionResponse;
import io.tallyd.v1.SubmissionServiceGrpc;
import io.tallyd.v1.SubmissionServiceGrpc.SubmissionServiceBlockingStub;
import java.io.File;
import java.io.IOException;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;

/**
 * What a client of tallyd does, step by step; docs/clients.md explains it.
 *
 * <p>usage: client ADDRESS [DIR]
 *
 * <p>With DIR by TLS: ca.crt there says whom to trust, tls.crt and tls.key who this client is. TALLYD_TOKEN may hold a bearer
 * token. What is below gen/ is generated from `tallyd proto --descriptor-set`: see generate.sh.
 */
public final class Client {
  private static final long DEADLINE = 10_000; // milliseconds

  // Reads may be repeated. Writes are not named: one that may have happened must not happen twice.
  private static final Map<String, ?> SERVICE_CONFIG = Map.of("methodConfig", List.of(Map.of(
      "name", List.of(
          Map.of("service", "tallyd.v1.FormService", "method", "GetForm"),
          Map.of("service", "tallyd.v1.FormService", "method", "ListForms"),
          Map.of("service", "tallyd.v1.SubmissionService", "method", "ListSubmissions")),
      "retryPolicy", Map.of(
          "maxAttempts", 3.0, "initialBackoff", "0.2s", "maxBackoff", "2s", "backoffMultiplier", 2.0,
          "retryableStatusCodes", List.of("UNAVAILABLE")))));

  private final FormServiceBlockingStub forms;
  private final SubmissionServiceBlockingStub submissions;
  private final HealthGrpc.HealthBlockingStub health;

  private Client(ManagedChannel channel) {
    forms = FormServiceGrpc.newBlockingStub(channel);
    submissions = SubmissionServiceGrpc.newBlockingStub(channel);
    health = HealthGrpc.newBlockingStub(channel);
  }

  private static ManagedChannel connect(String address, String tls) throws IOException {
    File ca = new File(tls, "ca.crt");
    File cert = new File(tls, "tls.crt");
    File key = new File(tls, "tls.key");
    ChannelCredentials credentials = tls == null ? InsecureChannelCredentials.create()
        : TlsChannelCredentials.newBuilder().trustManager(ca).keyManager(cert, key).build();
    return Grpc.newChannelBuilder(address, credentials).defaultServiceConfig(SERVICE_CONFIG).enableRetry().build();
  }

  private Form getForm(String formId, long deadline) {
    GetFormRequest request = GetFormRequest.newBuilder().setFormId(formId).build();
    return forms.withDeadlineAfter(deadline, TimeUnit.MILLISECONDS).getForm(request).getForm();
  }

  private void listForms() {
    var request = ListFormsRequest.newBuilder().setPageSize(5);
    int found = 0;
    int pages = 0;
    do {
      var page = forms.withDeadlineAfter(DEADLINE, TimeUnit.MILLISECONDS).listForms(request.build());
      found += page.getFormsCount();
      pages++;
      request.setPageToken(page.getNextPageToken());
    } while (!request.getPageToken().isEmpty());
    System.out.printf("list: %d forms on %d pages%n", found, pages);
  }

  private void showForm(String formId) {
    Form form = getForm(formId, DEADLINE);
    System.out.printf("get: %s, %s, %s, %d submissions%n", form.getId(), form.getName(), form.getStatus(), form.getSubmissionCount());
  }

  /** Each answer is typed by its question. */
  private static String answerOf(QuestionResponse response) {
    switch (response.getAnswerCase()) {
      case TEXT:
        return response.getText();
      case NUMBER:
        return String.format(Locale.ROOT, "%.1f", response.getNumber());
      case DATE:
        var date = response.getDate();
        return String.format("%d-%02d-%02d", date.getYear(), date.getMonth(), date.getDay());
      case CHOICES:
        return response.getChoices().getChoicesList().stream().map(Choice::getLabel).collect(Collectors.joining(", "));
      default:
        return "of another kind";
    }
  }

  /** Prints the newest submission of a form. */
  private void showAnswers(String formId) {
    var request = ListSubmissionsRequest.newBuilder().setFormId(formId).setPageSize(1).build();
    var page = submissions.withDeadlineAfter(DEADLINE, TimeUnit.MILLISECONDS).listSubmissions(request);
    var titles = page.getQuestionsList().stream().collect(Collectors.toMap(Question::getId, Question::getTitle));
    for (QuestionResponse response : page.getSubmissions(0).getResponsesList()) {
      String title = titles.get(response.getQuestionId());
      System.out.printf("answer: %s: %s%n", title.isEmpty() ? response.getQuestionType() : title, answerOf(response));
    }
  }

  /** Returns the detail of one type that an error holds. */
  private static <T extends Message> Optional<T> detailOf(StatusRuntimeException error, Class<T> type) {
    for (Any packed : StatusProto.fromThrowable(error).getDetailsList()) {
      try {
        if (packed.is(type)) return Optional.of(packed.unpack(type));
      } catch (InvalidProtocolBufferException broken) {
        throw new IllegalStateException(broken);
      }
    }
    return Optional.empty();
  }

  private void showError(String formId) {
    try {
      getForm(formId, DEADLINE);
    } catch (StatusRuntimeException error) {
      ErrorInfo info = detailOf(error, ErrorInfo.class).orElseThrow();
      StringBuilder line = new StringBuilder(String.format("error: %s %s says %s, outcome %s",
          error.getStatus().getCode(), info.getReason(), info.getDomain(), info.getMetadataOrThrow("outcome")));
      detailOf(error, BadRequest.class).ifPresent(bad ->
          bad.getFieldViolationsList().forEach(violation -> line.append(", field ").append(violation.getField())));
      detailOf(error, RetryInfo.class).ifPresent(retry ->
          line.append(", try again in ").append(retry.getRetryDelay().getSeconds()).append(" s"));
      System.out.println(line);
    }
  }

  private void tooLate() {
    try { // Tally is slow with QuizMe.
      getForm("QuizMe", 300);
    } catch (StatusRuntimeException error) {
      System.out.println("deadline: " + error.getStatus().getCode());
    }
  }

  private void cancel() {
    ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
    Context.CancellableContext call = Context.current().withCancellation();
    timer.schedule(() -> call.cancel(null), 500, TimeUnit.MILLISECONDS);
    call.run(() -> {
      try {
        getForm("QuizMe", DEADLINE);
      } catch (StatusRuntimeException error) {
        System.out.println("cancel: " + error.getStatus().getCode());
      }
    });
    timer.shutdown();
  }

  private static Metadata.Key<String> key(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }

  private void showMetadata() {
    Metadata metadata = new Metadata();
    metadata.put(key("x-request-id"), "example-1");
    String token = System.getenv("TALLYD_TOKEN");
    if (token != null) metadata.put(key("authorization"), "Bearer " + token);
    var headers = new AtomicReference<Metadata>();
    var trailers = new AtomicReference<Metadata>();
    forms
        .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata))
        .withInterceptors(MetadataUtils.newCaptureMetadataInterceptor(headers, trailers))
        .withDeadlineAfter(DEADLINE, TimeUnit.MILLISECONDS)
        .getForm(GetFormRequest.newBuilder().setFormId("Contct").build());
    System.out.printf("metadata: tallyd-request-id %s, tallyd-cost %s%n",
        trailers.get().get(key("tallyd-request-id")), trailers.get().get(key("tallyd-cost")));
  }

  private void showHealth() {
    HealthCheckRequest request = HealthCheckRequest.getDefaultInstance();
    var answer = health.withDeadlineAfter(DEADLINE, TimeUnit.MILLISECONDS).check(request);
    System.out.println("health: " + answer.getStatus());
    Context.CancellableContext stream = Context.current().withCancellation();
    stream.run(() -> System.out.println("watch: " + health.watch(request).next().getStatus()));
    stream.cancel(null);
  }

  public static void main(String[] arguments) throws Exception {
    ManagedChannel channel = connect(arguments[0], arguments.length > 1 ? arguments[1] : null);
    Client client = new Client(channel);
    client.listForms();
    client.showForm("Feedbk");
    for (String formId : List.of("Feedbk", "Holidy")) client.showAnswers(formId);
    for (String formId : List.of("nosuch", "../me", "Raffle")) client.showError(formId);
    // Tally fails twice here, and so does the first call: the channel repeats it.
    System.out.println("retry: " + client.getForm("Holidy", DEADLINE).getId());
    client.tooLate();
    client.cancel();
    client.showMetadata();
    client.showHealth();
    channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
  }
}
