package policy

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// filter is what may have to be hidden of a message type, read once from the contract.
type filter struct {
	fields      []*filterField // those that may have to be hidden or hold what may
	subjects    []*filterField // what the message is about: forms first
	form        protoreflect.FieldDescriptor
	workspace   protoreflect.FieldDescriptor
	folder      protoreflect.FieldDescriptor
	hiddenCount protoreflect.FieldDescriptor
	kinds       map[Kind]bool   // of this message and all below it
	secrets     map[string]bool // of this message and all below it
}

type filterField struct {
	desc         protoreflect.FieldDescriptor
	subject      Kind
	mention      Kind
	secret       string
	linked       bool
	allQuestions bool
	message      *filter
}

var filters sync.Map // protoreflect.FullName -> *filter

func filterOf(desc protoreflect.MessageDescriptor) *filter {
	if known, ok := filters.Load(desc.FullName()); ok {
		return known.(*filter) //nolint:forcetypeassert // nothing else is stored
	}
	plan := newFilter(desc)
	filters.Store(desc.FullName(), plan)
	return plan
}

func newFilter(desc protoreflect.MessageDescriptor) *filter {
	plan := &filter{kinds: map[Kind]bool{}, secrets: map[string]bool{}}
	for i := range desc.Fields().Len() {
		plan.add(newFilterField(desc.Fields().Get(i)))
	}
	slices.SortStableFunc(plan.subjects, func(a, b *filterField) int { return int(a.subject) - int(b.subject) })
	return plan
}

func newFilterField(desc protoreflect.FieldDescriptor) *filterField {
	f := &filterField{desc: desc}
	options := desc.Options()
	f.subject, _ = proto.GetExtension(options, optionsv1.E_Subject).(Kind)
	f.mention, _ = proto.GetExtension(options, optionsv1.E_Mention).(Kind)
	f.secret, _ = proto.GetExtension(options, optionsv1.E_Secret).(string)
	f.linked, _ = proto.GetExtension(options, optionsv1.E_Linked).(bool)
	f.allQuestions, _ = proto.GetExtension(options, optionsv1.E_AllQuestions).(bool)
	// The contract's messages hold each other without a circle; those of other packages hold nothing that it names.
	if inner := desc.Message(); inner != nil && !desc.IsMap() && strings.HasPrefix(string(inner.FullName()), "tallyd.v1.") {
		f.message = filterOf(inner)
	}
	return f
}

// add takes a field into the plan, if anything may have to be hidden of it.
func (p *filter) add(f *filterField) {
	if count, _ := proto.GetExtension(f.desc.Options(), optionsv1.E_HiddenCount).(bool); count {
		p.hiddenCount = f.desc
	}
	switch {
	case f.subject == optionsv1.Kind_KIND_FORM:
		p.form = f.desc
	case f.subject == optionsv1.Kind_KIND_WORKSPACE, f.mention == optionsv1.Kind_KIND_WORKSPACE && !f.desc.IsList():
		p.workspace = f.desc
	case f.mention == optionsv1.Kind_KIND_FOLDER:
		p.folder = f.desc
	}
	for _, kind := range []Kind{f.subject, f.mention} {
		if kind != 0 {
			p.kinds[kind] = true
		}
	}
	if f.allQuestions {
		p.kinds[optionsv1.Kind_KIND_QUESTION] = true
	}
	if f.secret != "" {
		p.secrets[f.secret] = true
	}
	if f.linked {
		p.secrets[fileLinks] = true
	}
	if f.subject != 0 {
		p.subjects = append(p.subjects, f)
	}
	if f.message != nil {
		p.absorb(f.message)
	}
	if f.mention != 0 || f.secret != "" || f.linked || f.allQuestions || f.message != nil && !f.message.plain() {
		p.fields = append(p.fields, f)
	}
}

func (p *filter) absorb(inner *filter) {
	for kind := range inner.kinds {
		p.kinds[kind] = true
	}
	for name := range inner.secrets {
		p.secrets[name] = true
	}
}

// plain tells that nothing can be hidden of the message.
func (p *filter) plain() bool { return len(p.kinds) == 0 && len(p.secrets) == 0 }

// locate returns the scope within a message.
func (p *filter) locate(msg protoreflect.Message, at scope) scope {
	if p.form != nil && msg.Has(p.form) {
		at.form = msg.Get(p.form).String()
	}
	if p.workspace != nil && msg.Has(p.workspace) {
		at.workspace = msg.Get(p.workspace).String()
	}
	return at
}

// place returns where a form lies as the message about it says; of a new form that of the call counts. It is nil where neither says.
func (p *filter) place(msg protoreflect.Message, workspace string) *Place {
	if p.workspace == nil {
		return nil
	}
	at := Place{Workspace: cmp.Or(msg.Get(p.workspace).String(), workspace)}
	if p.folder != nil {
		at.Folder = msg.Get(p.folder).String()
	}
	if at.Workspace == "" {
		return nil
	}
	return &at
}

// link is where an address begins, in whatever way JSON writes it.
var link = regexp.MustCompile(`(?i)(:|\\u003a)(/|\\/|\\u002f){2}`)

// holdsLink reports whether a text, which is JSON or a value for people, may hold a link to a file: anywhere below the top, or at
// Tally. A link at the top of an answer is what the respondent wrote.
func holdsLink(text string) bool {
	if !strings.ContainsAny(text, ":\\") || !link.MatchString(text) {
		return false
	}
	return text[0] != '"' || strings.Contains(text, "tally.so")
}

// learn remembers the form or the webhook that an answer is about. A new webhook is that of the call's form where Tally does not say.
func learn(places *Places, resp proto.Message, at Place, about string) {
	switch resp := resp.(type) {
	case *tallydv1.CreateFormResponse:
		form := resp.GetForm()
		place := Place{Workspace: cmp.Or(form.GetWorkspaceId(), at.Workspace), Folder: form.GetFolderId()}
		places.LearnForm(form.GetId(), place)
	case *tallydv1.CreateWebhookResponse:
		places.LearnWebhook(resp.GetWebhook().GetId(), cmp.Or(resp.GetWebhook().GetFormId(), about))
	case *tallydv1.UpdateWebhookResponse:
		places.LearnWebhook(resp.GetWebhook().GetId(), resp.GetWebhook().GetFormId())
	}
}
