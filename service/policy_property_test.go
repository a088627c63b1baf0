package service_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// account is all that the seeded account holds, as its owner sees it.
type account struct {
	workspaces, forms, folders, webhooks []string
	workspaceOf, folderOf                map[string]string   // of a form
	questions                            map[string][]string // of a form
	people                               []string            // ids, names and addresses
}

func readAccount(t *testing.T) account {
	t.Helper()
	g := newGuarded(t, company)
	ctx := as(t, "owner")
	a := account{workspaceOf: map[string]string{}, folderOf: map[string]string{}, questions: map[string][]string{}, folders: []string{"fldEvt", "fldCls", "fldHir"}}
	forms, err := g.forms().ListForms(ctx, &tallydv1.ListFormsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range forms.GetForms() {
		a.forms = append(a.forms, form.GetId())
		a.workspaceOf[form.GetId()], a.folderOf[form.GetId()] = form.GetWorkspaceId(), form.GetFolderId()
		questions, err := g.forms().ListQuestions(ctx, &tallydv1.ListQuestionsRequest{FormId: form.GetId()})
		if err != nil && form.GetStatus() != tallydv1.FormStatus_FORM_STATUS_DELETED {
			t.Fatal(err)
		}
		for _, question := range questions.GetQuestions() {
			a.questions[form.GetId()] = append(a.questions[form.GetId()], question.GetId())
		}
	}
	workspaces, err := tallydv1.NewWorkspaceServiceClient(g.conn).ListWorkspaces(ctx, &tallydv1.ListWorkspacesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, workspace := range workspaces.GetWorkspaces() {
		a.workspaces = append(a.workspaces, workspace.GetId())
	}
	users, err := tallydv1.NewOrganizationServiceClient(g.conn).ListOrganizationUsers(ctx, &tallydv1.ListOrganizationUsersRequest{OrganizationId: "orgSal"})
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range users.GetUsers() {
		a.people = append(a.people, user.GetId(), user.GetEmail(), user.GetFullName())
	}
	a.webhooks = []string{"whkCrm", "whkNps", "whkOff"}
	return a
}

// chance makes policies and requests.
type chance struct {
	*rand.Rand

	account
}

func (c chance) some(of []string, upTo int) []string {
	var picked []string
	for range c.IntN(upTo + 1) {
		if id := of[c.IntN(len(of))]; !slices.Contains(picked, id) {
			picked = append(picked, id)
		}
	}
	return picked
}

// grants is one random rule, for the oracle.
type grants struct {
	workspaces, folders, forms []string
	organization               bool
}

func (c chance) rule(deny bool) (grants, string) {
	r := grants{
		workspaces: c.some(c.workspaces, 2), folders: c.some(c.folders, 1), forms: c.some(c.forms, 3),
		organization: c.IntN(6) == 0,
	}
	if !deny && c.IntN(5) == 0 {
		r.forms = []string{"*"}
	}
	if len(r.workspaces)+len(r.folders)+len(r.forms) == 0 && !r.organization {
		r.forms = []string{c.forms[c.IntN(len(c.forms))]}
	}
	organizations := ""
	if r.organization {
		organizations = "orgSal"
	}
	return r, fmt.Sprintf("{methods: ['*'], workspaces: [%s], folders: [%s], forms: [%s], organizations: [%s]}",
		strings.Join(r.workspaces, ","), strings.Join(r.folders, ","), strings.ReplaceAll(strings.Join(r.forms, ","), "*", "'*'"), organizations)
}

// form says what the oracle thinks: slow and obvious.
func (r grants) form(a account, id string) bool {
	return slices.Contains(r.forms, "*") || slices.Contains(r.forms, id) || slices.Contains(r.workspaces, a.workspaceOf[id]) ||
		a.folderOf[id] != "" && slices.Contains(r.folders, a.folderOf[id])
}

// foreign returns every word that must not reach a caller with these rules.
func (c chance) foreign(allow, deny []grants, hidden map[string][]string) (words []string) {
	granted := func(about func(grants) bool) bool {
		return slices.ContainsFunc(allow, about) && !slices.ContainsFunc(deny, about)
	}
	for _, form := range c.forms {
		if !granted(func(r grants) bool { return r.form(c.account, form) }) {
			words = append(append(words, form), c.questions[form]...)
		}
		words = append(words, hidden[form]...)
	}
	for _, workspace := range c.workspaces {
		if !granted(func(r grants) bool { return slices.Contains(r.workspaces, workspace) }) {
			words = append(words, workspace)
		}
	}
	if !granted(func(r grants) bool { return r.organization }) {
		words = append(words, c.people...)
	}
	return words
}

// request fills a request of an RPC with ids of the account, its own or not.
func (c chance) request(method protoreflect.MethodDescriptor) proto.Message {
	kind, _ := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	req := kind.New()
	pools := map[protoreflect.Name][]string{
		"form_id": c.forms, "workspace_id": c.workspaces, "webhook_id": c.webhooks, "organization_id": {"orgSal"},
		"submission_id": {"nosuch"},
	}
	for i := range req.Descriptor().Fields().Len() {
		field := req.Descriptor().Fields().Get(i)
		if pool := pools[field.Name()]; pool != nil {
			req.Set(field, protoreflect.ValueOfString(pool[c.IntN(len(pool))]))
		}
		switch field.Name() {
		case "period":
			req.Set(field, protoreflect.ValueOfEnum(9))
		case "page_size":
			req.Set(field, protoreflect.ValueOfInt32([]int32{0, 1, 3}[c.IntN(3)]))
		case "view":
			req.Set(field, protoreflect.ValueOfEnum(2))
		}
	}
	return req.Interface()
}

// reads are the RPCs that change nothing.
func reads() (found []protoreflect.MethodDescriptor) {
	protoregistry.GlobalFiles.RangeFilesByPackage("tallyd.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				if name := string(methods.Get(j).Name()); strings.HasPrefix(name, "Get") || strings.HasPrefix(name, "List") {
					found = append(found, methods.Get(j))
				}
			}
		}
		return true
	})
	slices.SortFunc(found, func(a, b protoreflect.MethodDescriptor) int {
		return strings.Compare(string(a.FullName()), string(b.FullName()))
	})
	return found
}

// TestNothingForeignIsMentioned is the property of the whole: under random policies, whatever a caller asks for, no answer, page token,
// error or trailer mentions a form, workspace, question or person outside its grants.
func TestNothingForeignIsMentioned(t *testing.T) {
	world := readAccount(t)
	answered := 0
	for seed := range uint64(25) {
		c := chance{Rand: rand.New(rand.NewPCG(seed, 1)), account: world}
		var allow, deny []grants
		var allowText, denyText []string
		for range 1 + c.IntN(3) {
			r, text := c.rule(false)
			allow, allowText = append(allow, r), append(allowText, text)
		}
		for range c.IntN(2) {
			r, text := c.rule(true)
			deny, denyText = append(deny, r), append(denyText, text)
		}
		hidden := map[string][]string{}
		var hide []string
		for _, form := range world.forms {
			if len(world.questions[form]) > 0 && c.IntN(2) == 0 {
				hidden[form] = world.questions[form][:1]
				hide = append(hide, fmt.Sprintf("{form: %s, questions: [%s]}", form, hidden[form][0]))
			}
		}
		text := fmt.Sprintf("callers:\n- name: c\n  identities: ['dns:c']\n  allow: [%s]\n  deny: [%s]\n  hide: [%s]\n",
			strings.Join(allowText, ", "), strings.Join(denyText, ", "), strings.Join(hide, ", "))
		g := newGuarded(t, text)
		foreign := c.foreign(allow, deny, hidden)
		for range 2 {
			for _, method := range reads() {
				answered += askAndLook(t, g, c.request(method), method, foreign, text)
			}
		}
	}
	if answered < 200 {
		t.Errorf("%d calls were answered, want enough to mean something", answered)
	}
}

// askAndLook makes a call, follows its pages, and looks at all that comes back. It returns 1 for an answer.
func askAndLook(t *testing.T, g *guarded, req proto.Message, method protoreflect.MethodDescriptor, foreign []string, text string) int {
	t.Helper()
	name := string(method.Parent().Name()) + "/" + string(method.Name())
	asked := protojson.Format(req)
	for range 50 {
		var trailer metadata.MD
		answer := answerOf(t, name)
		err := g.conn.Invoke(as(t, "c"), "/tallyd.v1."+name, req, answer, grpc.Trailer(&trailer))
		token := stringOf(answer, "next_page_token")
		inside, _ := base64.RawURLEncoding.DecodeString(token)
		seen := fmt.Sprint(protojson.Format(answer), err, trailer, string(inside))
		for _, word := range foreign {
			if strings.Contains(seen, word) && !strings.Contains(asked, `"`+word+`"`) {
				t.Fatalf("%s of %s mentions %q under\n%s\nin %.2000s", name, asked, word, text, seen)
			}
		}
		if err != nil {
			return 0
		}
		if token == "" {
			return 1
		}
		req.ProtoReflect().Set(method.Input().Fields().ByName("page_token"), protoreflect.ValueOfString(token))
	}
	return 1
}

func stringOf(msg proto.Message, field protoreflect.Name) string {
	at := msg.ProtoReflect().Descriptor().Fields().ByName(field)
	if at == nil {
		return ""
	}
	return msg.ProtoReflect().Get(at).String()
}
