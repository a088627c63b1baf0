package policy

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"buf.build/go/protovalidate"
	"buf.build/go/protoyaml"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	configv1 "github.com/tallyd/tallyd/gen/tallyd/config/v1"
)

// maxFile bounds a policy: thousands of forms fit in, and reading it stays quick.
const maxFile = 1 << 20

// Error is everything that is wrong with a policy file.
type Error struct {
	// Problems say each where and which rule, in the order in which they were found; at least one.
	Problems []string
}

// Error returns the first problem, and how many there are beyond it.
func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return e.Problems[0]
	}
	return fmt.Sprintf("%s (and %d more: see `tallyd policy check`)", e.Problems[0], len(e.Problems)-1)
}

// Load reads a policy from a file. It returns an *Error when the file says something wrong, else the error of reading it.
func Load(file string) (*Policy, error) {
	data, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return nil, err
	}
	return Parse(file, data)
}

// Parse reads a policy; file is the name by which errors speak of it. It returns an *Error that names every problem by its line.
func Parse(file string, data []byte) (*Policy, error) {
	if len(data) > maxFile {
		return nil, &Error{Problems: []string{fmt.Sprintf("%s: holds %d bytes, a policy at most %d", file, len(data), maxFile)}}
	}
	data = lineFeeds.ReplaceAll(data, []byte("\n"))
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, &Error{Problems: []string{file + ": " + strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	config := &configv1.Policy{}
	if err := read(file, data, config); err != nil {
		return nil, &Error{Problems: problems(file, err)}
	}
	if len(config.GetCallers()) == 0 { // the reader checks no rule of an empty file
		return nil, &Error{Problems: []string{file + ": names no callers: nobody could call"}}
	}
	lines := &lineNumbers{root: &root}
	check := &checker{file: file, config: config, lines: lines}
	if found := check.all(); len(found) > 0 {
		return nil, &Error{Problems: found}
	}
	return newPolicy(file, config, lines), nil
}

// lineFeeds are all that YAML takes for the end of a line. The reader of the schema knows one of them alone, and looks for its excerpts
// where there is nothing.
var lineFeeds = regexp.MustCompile("\r\n|[\r\u0085\u2028\u2029]")

// read fills config from YAML. A file that the reader stumbles over is a bad file, and no end of a process that has a good one.
func read(file string, data []byte, config *configv1.Policy) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot be read: %v", p)
		}
	}()
	return protoyaml.UnmarshalOptions{Path: file, Validator: messages{}}.Unmarshal(data, config)
}

// messages fits the one validator of the process, which remembers rules for all that use it, to its reader.
type messages struct{}

// Validate returns a *protovalidate.ValidationError for a message that breaks a rule.
func (messages) Validate(msg proto.Message) error { return protovalidate.Validate(msg) }

// problems takes the joined errors of the reader apart: each begins with file, line and column, and goes on with an excerpt.
func problems(file string, err error) []string {
	var found []string
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, one := range joined.Unwrap() {
			found = append(found, problems(file, one)...)
		}
		return found
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	if !strings.HasPrefix(text, file) {
		text = file + ": " + text
	}
	return []string{text}
}

// lineNumbers finds the line of a part of the file.
type lineNumbers struct{ root *yaml.Node }

// of returns the line of what steps lead to: keys of mappings and indexes of lists. It is that of the last step that is there.
func (l *lineNumbers) of(steps ...any) int {
	node := l.root
	if node.Kind == yaml.DocumentNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	for _, step := range steps {
		next := child(node, step)
		if next == nil {
			break
		}
		node = next
	}
	return node.Line
}

func child(node *yaml.Node, step any) *yaml.Node {
	switch step := step.(type) {
	case int:
		if node.Kind == yaml.SequenceNode && step < len(node.Content) {
			return node.Content[step]
		}
	case string:
		for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1]
			}
		}
	}
	return nil
}

// checker holds the rules that no single message can state.
type checker struct {
	file   string
	config *configv1.Policy
	lines  *lineNumbers
	found  []string
}

func (c *checker) problem(line int, format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf("%s:%d %s", c.file, line, fmt.Sprintf(format, args...)))
}

func (c *checker) all() []string {
	c.names("groups", c.config.GetGroups())
	c.names("callers", c.config.GetCallers())
	c.identities()
	for i, group := range c.config.GetGroups() {
		c.entry("groups", i, group)
		if len(group.GetIdentities()) > 0 {
			c.problem(c.lines.of("groups", i, "identities"), "group %q has identities: only callers have them", group.GetName())
		}
	}
	for i, caller := range c.config.GetCallers() {
		c.entry("callers", i, caller)
		if len(caller.GetIdentities()) == 0 {
			c.problem(c.lines.of("callers", i), "caller %q has no identities: nobody could be it", caller.GetName())
		}
	}
	c.sources()
	c.cycles()
	return c.found
}

// names holds that no two entries of a list have one name.
func (c *checker) names(list string, entries []*configv1.Entry) {
	first := map[string]int{}
	for i, entry := range entries {
		if at, taken := first[entry.GetName()]; taken {
			c.problem(c.lines.of(list, i, "name"), "name %q is taken by line %d", entry.GetName(), c.lines.of(list, at, "name"))
			continue
		}
		first[entry.GetName()] = i
	}
}

// identities holds that nobody is two callers, and that patterns can be read.
func (c *checker) identities() {
	owner := map[string]string{}
	for i, caller := range c.config.GetCallers() {
		for j, identity := range caller.GetIdentities() {
			line := c.lines.of("callers", i, "identities", j)
			if other, taken := owner[identity]; taken {
				c.problem(line, "identity %q is caller %q already", identity, other)
			}
			owner[identity] = caller.GetName()
			if _, err := path.Match(identity, ""); err != nil {
				c.problem(line, "identity %q is no pattern that can be read", identity)
			}
			if !c.known(identity) {
				c.problem(line, "identity %q must begin with spiffe://, dns:, linkerd: or jwt:NAME:", identity)
			}
		}
	}
}

// known reports whether any way of proving makes such identities.
func (c *checker) known(identity string) bool {
	return slices.ContainsFunc([]string{"spiffe://", "dns:", "linkerd:", "jwt:"}, func(kind string) bool {
		return strings.HasPrefix(identity, kind) && len(identity) > len(kind)
	})
}

func (c *checker) entry(list string, at int, entry *configv1.Entry) {
	for i, r := range entry.GetAllow() {
		line := c.lines.of(list, at, "allow", i)
		c.methods(line, r)
		if newRule("", 0, r).everything {
			c.problem(line, "allow names no resource: give workspaces, folders, forms or organizations, or \"*\" for all of a kind")
		}
	}
	for i, r := range entry.GetDeny() {
		c.methods(c.lines.of(list, at, "deny", i), r)
	}
	for i, name := range entry.GetGroups() {
		if !slices.ContainsFunc(c.config.GetGroups(), func(group *configv1.Entry) bool { return group.GetName() == name }) {
			c.problem(c.lines.of(list, at, "groups", i), "group %q is not in this file", name)
		}
	}
}

// methods holds that every pattern names an RPC: a misspelt denial would deny nothing.
func (c *checker) methods(line int, r *configv1.Rule) {
	for _, pattern := range r.GetMethods() {
		matched := false
		for _, m := range contractMethods() {
			matched = matched || m.matches(pattern)
		}
		if !matched {
			c.problem(line, "methods: %q names no RPC: give read, write, or SERVICE/METHOD such as FormService/Get*", pattern)
		}
	}
}

// sources holds that no two issuers of tokens share a name.
func (c *checker) sources() {
	first := map[string]bool{}
	for i, source := range c.config.GetIdentify() {
		name := source.GetJwt().GetName()
		if name != "" && first[name] {
			c.problem(c.lines.of("identify", i), "jwt: name %q is taken", name)
		}
		first[name] = true
	}
}

// cycles holds that no group leads back to itself.
func (c *checker) cycles() {
	byName := map[string]*configv1.Entry{}
	for _, group := range c.config.GetGroups() {
		byName[group.GetName()] = group
	}
	done := map[string]bool{}
	for i, group := range c.config.GetGroups() {
		if way := cycle(byName, group.GetName(), nil, done); way != nil {
			c.problem(c.lines.of("groups", i), "groups lead in a circle: %s", strings.Join(way, " -> "))
			return
		}
	}
}

// cycle returns a way from name back to a group on it, or nil. Groups in done lead nowhere back.
func cycle(groups map[string]*configv1.Entry, name string, way []string, done map[string]bool) []string {
	if at := slices.Index(way, name); at >= 0 {
		return append(way[at:], name)
	}
	if done[name] {
		return nil
	}
	way = append(slices.Clip(way), name)
	for _, next := range groups[name].GetGroups() {
		if found := cycle(groups, next, way, done); found != nil {
			return found
		}
	}
	done[name] = true
	return nil
}
