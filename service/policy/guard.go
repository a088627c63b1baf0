package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
)

// Kind is a kind of thing that a policy grants or hides.
type Kind = optionsv1.Kind

// DeniedError says that the policy does not let a caller do what it asked for. It is the same for what does not exist and for what is
// somebody else's.
type DeniedError struct {
	// Caller and Method are who asked for what; Caller is empty, and Identity said, for somebody whom no entry names.
	Caller, Identity, Method string
	// Rule is where the policy says so, or that it says nothing: for the log, not for the caller.
	Rule string
}

// Error describes the denial for a log.
func (d *DeniedError) Error() string {
	return fmt.Sprintf("caller %q may not call %s: %s", d.Caller, d.Method, d.Rule)
}

// FieldError says that the policy demands or forbids a field of the request.
type FieldError struct {
	// Field is the request's, Rule a sentence without its subject.
	Field, Rule string
}

// Error returns the sentence.
func (e *FieldError) Error() string { return e.Field + " " + e.Rule }

// Why something is denied, where no line of the policy says so.
const (
	noRule     = "no rule allows it"
	noSuch     = "Tally does not show it, or it does not lie there"
	questions  = "questions of the form are hidden"
	noResource = "the contract does not say what it touches"
	// ownResource is why something is allowed that no line of the policy speaks of.
	ownResource = "every caller sees its own"
)

// Access is what one call may do and see.
type Access struct {
	by        *rule // the first that allows
	policy    *Policy
	places    *Places
	caller    *Caller
	method    *Method
	grant     *grant
	about     []string // the forms that the call is about
	workspace string   // the workspace that the call is about
}

// Decide says whether a caller may make a call. It returns a *DeniedError, a *FieldError, or the error of a look-up, without which nothing
// is allowed.
func (p *Policy) Decide(ctx context.Context, places *Places, caller *Caller, fullMethod string, req proto.Message) (*Access, error) {
	m := contractMethods()[fullMethod]
	if m == nil || m.resource == nil {
		return nil, &DeniedError{Caller: caller.Name, Method: fullMethod, Rule: noResource}
	}
	a := &Access{policy: p, places: places, caller: caller, method: m, grant: caller.grants[fullMethod]}
	if r := a.grant.denied(); r != nil {
		return nil, a.deny(r)
	}
	if m.resource.GetOwn() {
		return a, nil
	}
	if a.grant == nil {
		return nil, a.deny(nil)
	}
	msg := req.ProtoReflect()
	for _, step := range steps {
		if err := step(a, ctx, msg); err != nil {
			return nil, err
		}
	}
	if a.by == nil {
		return nil, a.deny(nil)
	}
	return a, nil
}

// steps decide in this order: what the call is about, then what it would do there.
var steps = []func(*Access, context.Context, protoreflect.Message) error{
	(*Access).forms, (*Access).webhook, (*Access).workspaces, (*Access).organization, (*Access).unnamed,
	(*Access).child, (*Access).questions, (*Access).destruction, (*Access).mask,
}

// Broad tells a stream about all that lies in a place from one about what it names, and from a call with one answer.
func (a *Access) Broad() bool { return a.method.Streams && len(a.about) == 0 && a.workspace != "" }

// Rule is where the policy allows the call.
func (a *Access) Rule() string {
	if a.by == nil {
		return ownResource
	}
	return a.policy.at(a.by)
}

// deny returns the denial by a rule; nil for the lack of one.
func (a *Access) deny(r *rule) error {
	d := &DeniedError{Caller: a.caller.Name, Method: a.method.Name, Rule: noRule}
	if r != nil {
		d.Rule = a.policy.at(r)
	}
	return d
}

func (a *Access) because(why string) error {
	return &DeniedError{Caller: a.caller.Name, Method: a.method.Name, Rule: why}
}

func (p *Policy) at(r *rule) string { return fmt.Sprintf("%s:%d", p.File, r.line) }

// permit notes the first rule that allows.
func (a *Access) permit(r *rule) {
	if a.by == nil {
		a.by = r
	}
}

// forms decides about each form that the request names. A form that a new one is made after is not what the call is about.
func (a *Access) forms(ctx context.Context, req protoreflect.Message) error {
	for _, field := range a.method.forms {
		for id := range ids(req, field) {
			if err := a.decideForm(ctx, id); err != nil {
				return err
			}
			if len(a.method.workspaces) == 0 || !a.method.Writes {
				a.about = append(a.about, id)
			} else if a.caller.hides(id) {
				return a.because(questions) // its copy has them too, under other ids
			}
		}
	}
	return nil
}

// decideForm allows by what is known, but denies only by a look-up of this form alone: so a form that does not exist and one that is
// somebody else's cost the same and answer alike, and one that just moved here is let in.
func (a *Access) decideForm(ctx context.Context, id string) error {
	may, by, err := a.known(ctx, id)
	if err != nil {
		return err
	}
	if may == yes {
		a.permit(by)
		return nil
	}
	if !a.grant.needsPlaces() {
		return a.deny(by)
	}
	place, err := a.places.Single(ctx, id)
	if errors.Is(err, ErrUnknown) {
		return a.because(noSuch)
	} else if err != nil {
		return err
	}
	if may, by = a.grant.form(id, &place); may != yes {
		return a.deny(by)
	}
	a.permit(by)
	return nil
}

// known decides about a form by what is known of where it lies.
func (a *Access) known(ctx context.Context, id string) (answer, *rule, error) {
	may, by := a.grant.form(id, nil)
	if may != depends {
		return may, by, nil
	}
	place, err := a.places.Known(ctx, id)
	if err == nil {
		may, by = a.grant.form(id, &place)
	} else if !errors.Is(err, ErrUnknown) {
		return no, nil, err
	}
	return may, by, nil
}

// webhook decides about the form that a webhook reports, by lists alone, which are read whether there is such a webhook or not: what a
// denial costs must not tell.
func (a *Access) webhook(ctx context.Context, req protoreflect.Message) error {
	id := id(req, a.method.webhook)
	if id == "" || a.grant.whole() && len(a.caller.hidden) == 0 {
		a.permitWhole(id != "")
		return nil
	}
	if a.grant.needsPlaces() {
		if _, err := a.places.Listed(ctx, ""); err != nil && !errors.Is(err, ErrUnknown) {
			return err
		}
	}
	denial := a.because(noSuch)
	for _, again := range []bool{false, true} {
		form, err := a.places.Webhook(ctx, id, again)
		if errors.Is(err, ErrUnknown) {
			continue
		} else if err != nil {
			return err
		}
		may, by, err := a.known(ctx, form)
		if err != nil {
			return err
		}
		if may == yes {
			a.permit(by)
			a.about = append(a.about, form)
			return nil
		}
		denial = a.deny(by)
	}
	return denial
}

func (a *Access) permitWhole(named bool) {
	if named && len(a.grant.allow) > 0 {
		a.permit(a.grant.allow[0])
	}
}

// workspaces decides about each workspace that the request names, and about the folder in it.
func (a *Access) workspaces(ctx context.Context, req protoreflect.Message) error {
	folder := id(req, a.method.folder)
	for _, field := range a.method.workspaces {
		for id := range ids(req, field) {
			may, by := a.grant.workspace(id)
			if folder != "" {
				may, by = a.grant.folder(folder, id)
			}
			if !may {
				return a.deny(by)
			}
			a.permit(by)
			a.workspace = id
		}
	}
	if folder == "" || a.grant.whole() {
		return nil
	}
	return a.within(ctx, Child{Kind: optionsv1.Kind_KIND_FOLDER, Parent: a.workspace, ID: folder})
}

// within demands that something lies where the request says: nothing says that Tally compares.
func (a *Access) within(ctx context.Context, child Child) error {
	if child.Parent == "" {
		return a.because(noSuch)
	}
	found, err := a.places.finder.Within(ctx, child)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return err
	}
	if !found || err != nil {
		return a.because(noSuch)
	}
	return nil
}

func (a *Access) organization(_ context.Context, req protoreflect.Message) error {
	for id := range ids(req, a.method.organization) {
		may, by := a.grant.organization(id)
		if !may {
			return a.deny(by)
		}
		a.permit(by)
	}
	return nil
}

// unnamed decides about calls whose request names nothing.
func (a *Access) unnamed(_ context.Context, _ protoreflect.Message) error {
	res := a.method.resource
	var may bool
	var by *rule
	switch {
	case res.GetFiltered():
		may, by = a.grant.part()
	case res.GetAll() == optionsv1.Kind_KIND_WORKSPACE && len(a.method.workspaces) > 0:
		if a.workspace != "" {
			return nil
		}
		may, by = a.grant.anywhere()
	case res.GetAll() == optionsv1.Kind_KIND_WORKSPACE:
		may, by = a.grant.some(func(r *rule) bool { return r.workspaces.any })
	case res.GetAll() == optionsv1.Kind_KIND_ORGANIZATION:
		may, by = a.grant.members()
	default:
		return nil
	}
	if !may {
		return a.deny(by)
	}
	a.permit(by)
	return nil
}

// child demands that what a write names within a form or a workspace lies there.
func (a *Access) child(ctx context.Context, req protoreflect.Message) error {
	id, webhook := id(req, a.method.child), id(req, a.method.webhook)
	if id == "" || a.grant.whole() && !a.hides() {
		return nil
	}
	child := Child{Kind: a.method.resource.GetChildKind(), Parent: a.workspace, ID: id}
	switch {
	case child.Kind == optionsv1.Kind_KIND_EVENT:
		child.Parent = webhook
	case len(a.about) > 0:
		child.Parent = a.about[0]
	}
	if err := a.within(ctx, child); err != nil {
		return err
	}
	if child.Kind == optionsv1.Kind_KIND_FOLDER {
		if may, by := a.grant.folder(id, child.Parent); !may {
			return a.deny(by)
		}
	}
	if child.Kind == optionsv1.Kind_KIND_QUESTION && a.caller.hidden[child.Parent][id] {
		return a.because(questions)
	}
	return nil
}

// questions denies what tells of all questions of a form, or decides about them, to somebody from whom some are hidden.
func (a *Access) questions(_ context.Context, req protoreflect.Message) error {
	if !a.hides() {
		return nil
	}
	if a.method.resource.GetAllQuestions() || a.replaces(req) {
		return a.because(questions)
	}
	return nil
}

// replaces reports whether the request decides about all questions of a form by one of its fields.
func (a *Access) replaces(req protoreflect.Message) bool {
	return slices.ContainsFunc(a.method.wholes, func(field protoreflect.FieldDescriptor) bool {
		return req.Has(field) || a.masks(req, string(field.Name())) != ""
	})
}

// destruction demands the confirmation that an entry asks for. What lies in a workspace goes with it: where a denial carves something
// out, nobody has looked whether it lies there.
func (a *Access) destruction(_ context.Context, req protoreflect.Message) error {
	if a.method.destroys == nil || len(a.method.wholes) > 0 && !a.replaces(req) {
		return nil
	}
	if r := a.grant.carves(); r != nil && a.workspace != "" {
		return a.deny(r)
	}
	if !a.caller.confirm || a.method.confirm == nil || id(req, a.method.confirm) == id(req, a.method.destroys) {
		return nil
	}
	return &FieldError{Field: "confirm", Rule: "must repeat " + string(a.method.destroys.Name()) + ": the policy demands it of callers that may destroy by mistake"}
}

// hides reports whether questions of a form that the call is about are hidden from the caller.
func (a *Access) hides() bool { return slices.ContainsFunc(a.about, a.caller.hides) }
