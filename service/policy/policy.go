package policy

import (
	"cmp"
	"path"
	"slices"
	"strings"

	configv1 "github.com/tallyd/tallyd/gen/tallyd/config/v1"
)

// Policy is what a file says, ready to decide. It never changes; a changed file makes a new one.
type Policy struct {
	// File is the name to speak of.
	File string
	// Shadow denies and hides nothing, and only says what would be.
	Shadow bool
	// Identify are the ways to prove who one is, in order.
	Identify []*configv1.IdentitySource
	// Callers are the entries of callers, in the order of the file.
	Callers []*Caller

	exact    map[string]*Caller
	patterns []pattern
}

type pattern struct {
	text   string
	caller *Caller
}

// Secrets are what a caller sees only when its entry reveals it, by the names of the contract's option secret.
const fileLinks = "file_links"

// Caller is one entry with all that its groups add.
type Caller struct {
	// Name is the entry's.
	Name string
	// Weight is the share of Tally's quota in proportion to other callers', at least 1.
	Weight int
	// Batch tells that nobody waits for this caller's answers.
	Batch bool

	line    int
	confirm bool
	reveal  map[string]bool
	hidden  map[string]map[string]bool // form -> questions
	grants  map[string]*grant          // by the method's full name
}

// hides reports whether questions of a form are hidden from the caller.
func (c *Caller) hides(form string) bool { return len(c.hidden[form]) > 0 }

// Caller returns whose identity it is: the entry that names it exactly, else the first with a pattern that fits.
func (p *Policy) Caller(identity string) (*Caller, bool) {
	if c := p.exact[identity]; c != nil {
		return c, true
	}
	for _, at := range p.patterns {
		if ok, err := path.Match(at.text, identity); ok && err == nil {
			return at.caller, true
		}
	}
	return nil, false
}

// ProvesWithoutCertificate tells that the policy takes other proofs of who callers are than their certificates.
func (p *Policy) ProvesWithoutCertificate() bool {
	return slices.ContainsFunc(p.Identify, func(source *configv1.IdentitySource) bool { return source.GetMtls() == nil })
}

// byName returns the caller of that name.
func (p *Policy) byName(name string) (*Caller, bool) {
	at := slices.IndexFunc(p.Callers, func(c *Caller) bool { return c.Name == name })
	if at < 0 {
		return nil, false
	}
	return p.Callers[at], true
}

// newPolicy makes a checked file ready to decide.
func newPolicy(file string, config *configv1.Policy, lines *lineNumbers) *Policy {
	p := &Policy{File: file, Shadow: config.GetShadow(), Identify: config.GetIdentify(), exact: map[string]*Caller{}}
	groups := map[string]int{}
	for i, group := range config.GetGroups() {
		groups[group.GetName()] = i
	}
	for i, entry := range config.GetCallers() {
		build := &build{config: config, groups: groups, lines: lines, caller: &Caller{
			Name: entry.GetName(), line: lines.of("callers", i),
			reveal: map[string]bool{}, hidden: map[string]map[string]bool{}, grants: map[string]*grant{},
		}}
		build.add("callers", i, entry)
		p.Callers = append(p.Callers, build.finish(entry))
		for _, identity := range entry.GetIdentities() {
			if isPattern(identity) {
				p.patterns = append(p.patterns, pattern{text: identity, caller: build.caller})
				continue
			}
			p.exact[identity] = build.caller
		}
	}
	return p
}

func isPattern(identity string) bool { return strings.ContainsAny(identity, `*?[\`) }

// build gathers an entry and its groups.
type build struct {
	config      *configv1.Policy
	groups      map[string]int
	lines       *lineNumbers
	caller      *Caller
	seen        []string
	allow, deny []*rule
	weight      int32
	priority    string
}

// add takes over what an entry says, and then its groups; what the caller says itself comes first.
func (b *build) add(list string, at int, entry *configv1.Entry) {
	for i, r := range entry.GetAllow() {
		b.allow = append(b.allow, newRule(entry.GetName(), b.lines.of(list, at, "allow", i), r))
	}
	for i, r := range entry.GetDeny() {
		b.deny = append(b.deny, newRule(entry.GetName(), b.lines.of(list, at, "deny", i), r))
	}
	for _, name := range entry.GetReveal() {
		b.caller.reveal[name] = true
	}
	for _, hidden := range entry.GetHide() {
		form := hidden.GetForm()
		if b.caller.hidden[form] == nil {
			b.caller.hidden[form] = map[string]bool{}
		}
		for _, question := range hidden.GetQuestions() {
			b.caller.hidden[form][question] = true
		}
	}
	b.caller.confirm = b.caller.confirm || entry.GetConfirm()
	b.priority = cmp.Or(b.priority, entry.GetPriority())
	for _, name := range entry.GetGroups() {
		if slices.Contains(b.seen, name) {
			continue
		}
		b.seen = append(b.seen, name)
		group := b.config.GetGroups()[b.groups[name]]
		b.weight = max(b.weight, group.GetWeight())
		b.add("groups", b.groups[name], group)
	}
}

// finish sorts the rules by method, so that a call meets those alone that speak of it.
func (b *build) finish(entry *configv1.Entry) *Caller {
	for full, m := range contractMethods() {
		g := &grant{}
		for _, r := range b.allow {
			if r.names(m) {
				g.allow = append(g.allow, r)
			}
		}
		for _, r := range b.deny {
			if r.names(m) {
				g.deny = append(g.deny, r)
			}
		}
		if len(g.allow) > 0 || len(g.deny) > 0 {
			b.caller.grants[full] = g
		}
	}
	if entry.Weight != nil {
		b.weight = entry.GetWeight()
	}
	b.caller.Weight, b.caller.Batch = int(max(b.weight, 1)), b.priority == "batch"
	return b.caller
}
