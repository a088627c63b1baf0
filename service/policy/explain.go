package policy

import (
	"fmt"
	"slices"
	"strings"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
)

// Question is what Explain answers.
type Question struct {
	// Caller is the name of an entry or an identity.
	Caller string
	// Method is SERVICE/METHOD.
	Method string
	// Form, Workspace, Folder and Organization are what the call is about; a form's workspace and folder are where it lies.
	Form, Workspace, Folder, Organization string
}

// Explanation says whether a call would be let through, and why.
type Explanation struct {
	// Verdict is "allowed", "denied" or "depends".
	Verdict string
	// Why names the line that decides.
	Why string
	// Also are the conditions beyond the verdict: what is hidden, what is demanded.
	Also []string
}

// The verdicts.
const (
	allowed   = "allowed"
	denied    = "denied"
	undecided = "depends"
)

// Explain answers a question by the policy alone, without looking anything up. It returns an error for a caller or method that is
// not there.
func (p *Policy) Explain(q Question) (Explanation, error) {
	m, ok := FindMethod(q.Method)
	if !ok {
		return Explanation{}, fmt.Errorf("method %q is not in the contract: give SERVICE/METHOD, such as FormService/GetForm", q.Method)
	}
	caller, ok := p.byName(q.Caller)
	if !ok {
		caller, ok = p.Caller(q.Caller)
	}
	if !ok {
		return Explanation{Verdict: denied, Why: fmt.Sprintf("%s names no caller %q, neither as name nor as identity", p.File, q.Caller)}, nil
	}
	e := p.explain(caller, m, q)
	if e.Verdict != denied {
		e.Also = caller.also(p, m, q)
	}
	if p.Shadow {
		e.Also = append(e.Also, "shadow: true, so nothing is denied or hidden yet")
	}
	return e, nil
}

func (p *Policy) explain(c *Caller, m *Method, q Question) Explanation {
	g := c.grants[m.full]
	if m.resource.GetOwn() && g.denied() == nil {
		return Explanation{allowed, ownResource, nil}
	}
	if g == nil {
		return Explanation{denied, fmt.Sprintf("no rule of caller %q (%s:%d) or its groups names %s", c.Name, p.File, c.line, m.Name), nil}
	}
	if r := g.denied(); r != nil {
		return p.verdict(no, r)
	}
	res := m.resource
	switch {
	case q.Form != "":
		return p.explainForm(g, q)
	case q.Organization != "":
		return p.verdictOf(g.organization(q.Organization))
	case q.Workspace != "" && q.Folder != "":
		return p.verdictOf(g.folder(q.Folder, q.Workspace))
	case q.Workspace != "":
		return p.verdictOf(g.workspace(q.Workspace))
	case res.GetFiltered():
		e := p.verdictOf(g.part())
		e.Why += "; the answer holds what is granted and nothing else"
		return e
	case res.GetAll() == optionsv1.Kind_KIND_ORGANIZATION:
		return p.verdictOf(g.members())
	default:
		return Explanation{undecided, "it depends on what the call is about: give --form, --workspace, --folder or --organization", nil}
	}
}

func (p *Policy) explainForm(g *grant, q Question) Explanation {
	var at *Place
	if q.Workspace != "" {
		at = &Place{Workspace: q.Workspace, Folder: q.Folder}
	}
	may, r := g.form(q.Form, at)
	e := p.verdict(may, r)
	if may == depends {
		e.Why += ", if the form lies there: give --workspace, and --folder, to say where"
	}
	return e
}

func (p *Policy) verdictOf(may bool, r *rule) Explanation {
	if may {
		return p.verdict(yes, r)
	}
	return p.verdict(no, r)
}

func (p *Policy) verdict(may answer, r *rule) Explanation {
	if r == nil {
		return Explanation{Verdict: denied, Why: "rules name the method, but none of them this resource"}
	}
	why := fmt.Sprintf("%s:%d (entry %q): %s", p.File, r.line, r.owner, r)
	return Explanation{Verdict: map[answer]string{yes: allowed, no: denied, depends: undecided}[may], Why: why}
}

// String writes a rule as its file does.
func (r *rule) String() string {
	parts := []string{"methods " + strings.Join(r.methods, ", ")}
	for _, set := range []struct {
		kind string
		ids  idSet
	}{{"workspaces", r.workspaces}, {"folders", r.folders}, {"forms", r.forms}, {"organizations", r.organizations}} {
		if !set.ids.empty() {
			parts = append(parts, set.kind+" "+set.ids.String())
		}
	}
	return strings.Join(parts, "; ")
}

// maxNamed bounds how many ids an explanation names.
const maxNamed = 5

// String names the ids, sorted; of many a few and their number.
func (s idSet) String() string {
	if s.any {
		return everyID
	}
	var names []string
	for id := range s.ids {
		names = append(names, id)
	}
	slices.Sort(names)
	if len(names) > maxNamed {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
	}
	return strings.Join(names, ", ")
}

// also lists what else holds for an allowed call.
func (c *Caller) also(p *Policy, m *Method, q Question) (found []string) {
	if m.resource.GetDestroys() != "" && c.confirm {
		found = append(found, "the field confirm must repeat "+m.resource.GetDestroys())
	}
	if hidden := c.hidden[q.Form]; len(hidden) > 0 {
		if m.resource.GetAllQuestions() {
			return append(found, "denied all the same: the call tells of all questions, and some of this form are hidden")
		}
		found = append(found, fmt.Sprintf("%d questions of this form are hidden, its blocks, previews and drop-off with them", len(hidden)))
	}
	var secrets []string
	for _, name := range []string{"password", "signing_secret", "http_headers", fileLinks} {
		if !c.reveal[name] {
			secrets = append(secrets, name)
		}
	}
	if len(secrets) > 0 && !p.Shadow {
		found = append(found, "not revealed: "+strings.Join(secrets, ", "))
	}
	return found
}
