package policy

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
)

// home is the RPC by whose grant a mention of a kind is judged, besides the one that is called.
var home = map[Kind]string{
	optionsv1.Kind_KIND_WORKSPACE:    "/tallyd.v1.WorkspaceService/GetWorkspace",
	optionsv1.Kind_KIND_FOLDER:       "/tallyd.v1.WorkspaceService/ListFolders",
	optionsv1.Kind_KIND_ORGANIZATION: "/tallyd.v1.OrganizationService/ListOrganizationUsers",
	optionsv1.Kind_KIND_MEMBER:       "/tallyd.v1.OrganizationService/ListOrganizationUsers",
}

// Filter takes from an answer what the caller may not see. It returns a *DeniedError when nothing is left of the answer to a read, and the
// error of a look-up.
func (a *Access) Filter(ctx context.Context, resp proto.Message) error {
	if a.policy.Shadow {
		return nil
	}
	plan := filterOf(resp.ProtoReflect().Descriptor())
	if a.open(plan) {
		return nil
	}
	if err := unseal(resp); err != nil {
		return err
	}
	w := &walker{access: a, ctx: ctx, top: resp.ProtoReflect()}
	left, err := w.message(plan, resp.ProtoReflect(), scope{})
	if err != nil {
		return err
	}
	if !left && !a.method.Writes {
		return a.because(noSuch)
	}
	return nil
}

// Keep says which items of a list the caller gets, before it is paged: counts and page tokens must not tell of the others. It is nil
// where the caller gets all of them.
func (a *Access) Keep(ctx context.Context) func(item proto.Message) (bool, error) {
	part := a.method.resource.GetFiltered() && !a.grant.whole()
	if a.method.items != nil && a.hides() {
		subjects := filterOf(a.method.items).subjects
		part = part || slices.ContainsFunc(subjects, func(f *filterField) bool { return f.subject == optionsv1.Kind_KIND_QUESTION })
	}
	if a.policy.Shadow || !part {
		return nil
	}
	w := &walker{access: a, ctx: ctx}
	return func(item proto.Message) (bool, error) {
		msg := item.ProtoReflect()
		_, visible, err := w.subjects(filterOf(msg.Descriptor()), msg, scope{})
		return visible, err
	}
}

// Learn remembers what a call made or moved, before any list at Tally shows it.
func (a *Access) Learn(resp proto.Message) {
	if !a.method.Writes || a.grant.whole() || unseal(resp) != nil {
		return
	}
	about := ""
	if len(a.about) > 0 {
		about = a.about[0]
	}
	learn(a.places, resp, Place{Workspace: a.workspace}, about)
}

// unseal decodes an answer that its handler passed on as bytes.
func unseal(resp proto.Message) error {
	msg := resp.ProtoReflect()
	sealed := msg.GetUnknown()
	if len(sealed) == 0 {
		return nil
	}
	msg.SetUnknown(nil)
	return proto.UnmarshalOptions{AllowPartial: true, Merge: true}.Unmarshal(sealed, resp)
}

// open tells that nothing of the kinds and secrets that such a message holds is hidden from the caller.
func (a *Access) open(plan *filter) bool {
	for kind := range plan.kinds {
		switch kind {
		case optionsv1.Kind_KIND_QUESTION:
			if len(a.caller.hidden) > 0 {
				return false
			}
		case optionsv1.Kind_KIND_MEMBER, optionsv1.Kind_KIND_ORGANIZATION:
			if !a.seesAll(kind) {
				return false
			}
		default:
			if !a.grant.whole() {
				return false
			}
		}
	}
	for name := range plan.secrets {
		if !a.caller.reveal[name] {
			return false
		}
	}
	return true
}

// seesAll tells that every organization is granted, to the call or at home.
func (a *Access) seesAll(kind Kind) bool {
	for _, g := range []*grant{a.grant, a.caller.grants[home[kind]]} {
		if g == nil || len(g.deny) > 0 {
			continue
		}
		if slices.ContainsFunc(g.allow, func(r *rule) bool { return r.organizations.any }) {
			return true
		}
	}
	return false
}

// scope is what the messages around one say of where it is.
type scope struct {
	form      string
	workspace string
}

// walker goes through one answer.
type walker struct {
	access *Access
	ctx    context.Context //nolint:containedctx // it lives no longer than the call
	top    protoreflect.Message
}

// message filters a message and all below it. It reports whether the caller may see the message at all.
func (w *walker) message(plan *filter, msg protoreflect.Message, at scope) (bool, error) {
	at, visible, err := w.subjects(plan, msg, at)
	if err != nil || !visible {
		return false, err
	}
	for _, f := range plan.fields {
		if !msg.Has(f.desc) {
			continue
		}
		if err := w.field(plan, f, msg, at); err != nil {
			return false, err
		}
	}
	return true, nil
}

// subjects decides whether the caller may see the message by what it is about, and returns the scope within it.
func (w *walker) subjects(plan *filter, msg protoreflect.Message, at scope) (scope, bool, error) {
	at = plan.locate(msg, at)
	for _, f := range plan.subjects {
		id := msg.Get(f.desc).String()
		visible, err := w.subject(f.subject, id, msg, plan, at)
		if err != nil || !visible {
			return at, false, err
		}
	}
	return at, true, nil
}

func (w *walker) subject(kind Kind, id string, msg protoreflect.Message, plan *filter, at scope) (bool, error) {
	a := w.access
	switch kind {
	case optionsv1.Kind_KIND_FORM:
		return w.form(id, plan.place(msg, a.workspace))
	case optionsv1.Kind_KIND_QUESTION:
		form := at.form
		if form == "" && len(a.about) == 1 {
			form = a.about[0]
		}
		// What does not say to which question it belongs may belong to a hidden one.
		return !a.caller.hidden[form][id] && (id != "" || !a.caller.hides(form)), nil
	case optionsv1.Kind_KIND_FOLDER:
		return a.sees(kind, id, cmp.Or(at.workspace, a.workspace)), nil
	default:
		return a.sees(kind, id, ""), nil
	}
}

// form decides about a form that an answer is about. A call about one form gets that one and no other; an answer that does not say
// which is about that one.
func (w *walker) form(id string, at *Place) (bool, error) {
	a := w.access
	if len(a.about) > 0 {
		return id == "" || slices.Contains(a.about, id), nil
	}
	if id == "" {
		return a.grant.whole(), nil
	}
	may, _ := a.grant.form(id, at)
	if may != depends {
		return may == yes, nil
	}
	place, err := a.places.Known(w.ctx, id)
	if a.Broad() {
		// What a stream leaves out is lost to its caller for good: a list may not have heard yet that the form came here.
		if may, _ = a.grant.form(id, &place); err != nil || may != yes {
			place, err = a.places.Single(w.ctx, id)
		}
	}
	if err != nil && a.method.Writes {
		return false, nil // what was done is done: a failed look-up must not make it look undone
	}
	if errors.Is(err, ErrUnknown) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	may, _ = a.grant.form(id, &place)
	return may == yes, nil
}

// sees decides about a mention of anything but a form, by the grant of the call and that of the kind's home.
func (a *Access) sees(kind Kind, id, workspace string) bool {
	for _, g := range []*grant{a.grant, a.caller.grants[home[kind]]} {
		if g == nil {
			continue
		}
		var visible bool
		switch kind {
		case optionsv1.Kind_KIND_WORKSPACE:
			visible, _ = g.workspace(id)
		case optionsv1.Kind_KIND_FOLDER:
			visible, _ = g.folder(id, workspace)
		case optionsv1.Kind_KIND_ORGANIZATION:
			visible, _ = g.organization(id)
		case optionsv1.Kind_KIND_MEMBER:
			visible, _ = g.members()
		default:
			visible = g.whole()
		}
		if visible {
			return true
		}
	}
	return false
}

// field empties a field, or filters what is in it.
func (w *walker) field(plan *filter, f *filterField, msg protoreflect.Message, at scope) error {
	a := w.access
	switch {
	case f.secret != "" && !a.caller.reveal[f.secret],
		f.linked && !a.caller.reveal[fileLinks] && holdsLink(msg.Get(f.desc).String()),
		f.allQuestions && a.caller.hides(w.formOf(at)):
		msg.Clear(f.desc)
	case f.mention != 0:
		w.mention(f, msg, at)
	case f.message == nil:
	case f.desc.IsList():
		return w.list(plan, f, msg, at)
	default:
		left, err := w.message(f.message, msg.Mutable(f.desc).Message(), at)
		if err == nil && !left && msg == w.top && !a.method.Writes {
			return a.because(noSuch) // what the call asked for is not the caller's
		}
		if !left {
			msg.Clear(f.desc)
		}
		return err
	}
	return nil
}

func (w *walker) formOf(at scope) string {
	if at.form == "" && len(w.access.about) == 1 {
		return w.access.about[0]
	}
	return at.form
}

// mention empties a field that names what the caller may not see.
func (w *walker) mention(f *filterField, msg protoreflect.Message, at scope) {
	if !f.desc.IsList() {
		id := ""
		if f.desc.Kind() == protoreflect.StringKind {
			id = msg.Get(f.desc).String()
		}
		if !w.access.sees(f.mention, id, at.workspace) {
			msg.Clear(f.desc)
		}
		return
	}
	values := msg.Mutable(f.desc).List()
	kept := 0
	for i := range values.Len() {
		if w.access.sees(f.mention, values.Get(i).String(), at.workspace) {
			values.Set(kept, values.Get(i))
			kept++
		}
	}
	values.Truncate(kept)
}

// list leaves out the items that the caller may not see, and says how many where the message has a field for it.
func (w *walker) list(plan *filter, f *filterField, msg protoreflect.Message, at scope) error {
	items := msg.Mutable(f.desc).List()
	kept := 0
	for i := range items.Len() {
		left, err := w.message(f.message, items.Get(i).Message(), at)
		if err != nil {
			return err
		}
		if left {
			items.Set(kept, items.Get(i))
			kept++
		}
	}
	if dropped := items.Len() - kept; dropped > 0 && plan.hiddenCount != nil {
		msg.Set(plan.hiddenCount, protoreflect.ValueOfInt32(int32(dropped))) //nolint:gosec // an answer holds far fewer
	}
	items.Truncate(kept)
	return nil
}
