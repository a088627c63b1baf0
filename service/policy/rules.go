package policy

import (
	"slices"

	configv1 "github.com/tallyd/tallyd/gen/tallyd/config/v1"
)

// everyID stands for every id, and for every method.
const everyID = "*"

// idSet is the ids that a rule names.
type idSet struct {
	any bool
	ids map[string]struct{}
}

func newIDSet(ids []string) idSet {
	s := idSet{ids: make(map[string]struct{}, len(ids))}
	for _, id := range ids {
		if id == everyID {
			s.any = true
		}
		s.ids[id] = struct{}{}
	}
	return s
}

func (s idSet) has(id string) bool {
	if s.any {
		return true
	}
	_, found := s.ids[id]
	return found && id != ""
}

func (s idSet) empty() bool { return len(s.ids) == 0 }

// rule is some methods on some resources, with the line that says so.
type rule struct {
	line          int
	owner         string // the entry that has it
	methods       []string
	everything    bool // a denial that names no resource
	forms         idSet
	workspaces    idSet
	folders       idSet
	organizations idSet
}

func newRule(owner string, line int, r *configv1.Rule) *rule {
	n := &rule{
		line: line, owner: owner, methods: r.GetMethods(),
		forms: newIDSet(r.GetForms()), workspaces: newIDSet(r.GetWorkspaces()),
		folders: newIDSet(r.GetFolders()), organizations: newIDSet(r.GetOrganizations()),
	}
	n.everything = n.forms.empty() && n.workspaces.empty() && n.folders.empty() && n.organizations.empty()
	return n
}

func (r *rule) names(m *Method) bool {
	return slices.ContainsFunc(r.methods, m.matches)
}

// Place is where a form lies. The zero Place is nowhere.
type Place struct {
	Workspace, Folder string
}

// answer is what a rule, or all of them, say of one resource.
type answer int

const (
	no answer = iota
	yes
	depends // on where the form lies
)

// form says whether the rule is about a form; at is nil while nobody knows where it lies.
func (r *rule) form(id string, at *Place) answer {
	switch {
	case r.everything, r.forms.has(id), r.workspaces.any:
		return yes
	case r.workspaces.empty() && r.folders.empty():
		return no
	case at == nil:
		return depends
	case r.workspaces.has(at.Workspace), at.Folder != "" && r.folders.has(at.Folder):
		return yes
	}
	return no
}

// grant is what a caller's rules say of one method.
type grant struct {
	allow, deny []*rule
}

// form decides about a form. The rule is the one that decides; nil where none allows it.
func (g *grant) form(id string, at *Place) (answer, *rule) {
	for _, r := range g.deny {
		switch r.form(id, at) {
		case yes:
			return no, r
		case depends:
			return depends, r
		case no:
		}
	}
	found, by := no, (*rule)(nil)
	for _, r := range g.allow {
		switch r.form(id, at) {
		case yes:
			return yes, r
		case depends:
			found, by = depends, r
		case no:
		}
	}
	return found, by
}

// some decides by the first denial, then the first permission, for which about is true.
func (g *grant) some(about func(*rule) bool) (bool, *rule) {
	for _, r := range g.deny {
		if r.everything || about(r) {
			return false, r
		}
	}
	for _, r := range g.allow {
		if about(r) {
			return true, r
		}
	}
	return false, nil
}

func (g *grant) workspace(id string) (bool, *rule) {
	return g.some(func(r *rule) bool { return r.workspaces.has(id) })
}

func (g *grant) organization(id string) (bool, *rule) {
	return g.some(func(r *rule) bool { return r.organizations.has(id) })
}

// folder decides about a folder of a workspace: its own grant or that of the workspace.
func (g *grant) folder(id, workspace string) (bool, *rule) {
	return g.some(func(r *rule) bool { return r.folders.has(id) || r.workspaces.has(workspace) })
}

// anywhere decides about a workspace that Tally chooses: it may be one that is denied.
func (g *grant) anywhere() (bool, *rule) {
	for _, r := range g.deny {
		if !r.workspaces.empty() {
			return false, r
		}
	}
	return g.some(func(r *rule) bool { return r.workspaces.any })
}

// members tells whether people of the organization may be seen at all.
func (g *grant) members() (bool, *rule) {
	return g.some(func(r *rule) bool { return !r.organizations.empty() })
}

// denied returns the rule that denies the method whatever it is about.
func (g *grant) denied() *rule {
	if g == nil {
		return nil
	}
	for _, r := range g.deny {
		if r.everything {
			return r
		}
	}
	return nil
}

// whole tells that the grant covers every form and workspace of the account without exception.
func (g *grant) whole() bool {
	if len(g.deny) > 0 {
		return false
	}
	for _, r := range g.allow {
		if r.workspaces.any {
			return true
		}
	}
	return false
}

// part decides about a list of which everybody gets what is granted: any permission will do, and a denial of something takes out that.
func (g *grant) part() (bool, *rule) {
	if len(g.allow) == 0 {
		return false, nil
	}
	return true, g.allow[0]
}

// carves returns a denial that names forms or folders, of which nobody looks up whether they lie where something is destroyed.
func (g *grant) carves() *rule {
	for _, r := range g.deny {
		if !r.forms.empty() || !r.folders.empty() {
			return r
		}
	}
	return nil
}

// needsPlaces tells that some rule goes by where a form lies.
func (g *grant) needsPlaces() bool {
	for _, rules := range [][]*rule{g.allow, g.deny} {
		for _, r := range rules {
			if !r.workspaces.empty() && !r.workspaces.any || !r.folders.empty() {
				return true
			}
		}
	}
	return false
}
