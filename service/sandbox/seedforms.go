package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

type seedForm struct {
	ID          string          `json:"id"`
	Name        *string         `json:"name"`
	WorkspaceID string          `json:"workspaceId"`
	FolderID    *string         `json:"folderId"`
	Status      string          `json:"status"`
	Settings    map[string]any  `json:"settings"`
	CreatedAt   time.Time       `json:"createdAt"`
	UpdatedAt   time.Time       `json:"updatedAt"`
	Items       []seedItem      `json:"items"`
	Submissions seedSubmissions `json:"submissions"`
}

// seedItem is one question or one other block in short form.
type seedItem struct {
	Type     string          `json:"type"`
	Ref      string          `json:"ref"`
	Title    string          `json:"title"`
	Label    string          `json:"label"`
	HTML     string          `json:"html"`
	Required bool            `json:"required"`
	Options  []string        `json:"options"`
	Rows     []string        `json:"rows"`
	Columns  []string        `json:"columns"`
	Fields   []seedField     `json:"fields"`
	Payload  json.RawMessage `json:"payload"`
	Samples  []string        `json:"samples"`
}

type seedField struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value any    `json:"value"`
}

type seedSubmissions struct {
	Count   int       `json:"count"`
	Partial int       `json:"partial"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
}

func (st *state) plantForm(orgID string, seeded seedForm) error {
	if st.workspace(seeded.WorkspaceID) == nil {
		return fmt.Errorf("workspace %q is not in the seed", seeded.WorkspaceID)
	}
	blocks, err := seeded.blocks()
	if err != nil {
		return err
	}
	f := &form{
		id: seeded.ID, workspaceID: seeded.WorkspaceID, organizationID: orgID, name: seeded.Name,
		folderID: seeded.FolderID, status: seeded.Status, counts: map[string]int{},
		createdAt: seeded.CreatedAt, updatedAt: seeded.UpdatedAt,
	}
	if seeded.Settings != nil {
		f.settings = completeSettings(seeded.Settings)
	}
	issued := uint64(0)
	f.setBlocks(blocks, func() string {
		issued++
		return shortID(hashText(f.id, "question", fmt.Sprint(issued)), 6)
	}, f.createdAt)
	f.giveSamples(seeded.Items)
	f.plantSubmissions(seeded.Submissions)
	st.forms = append(st.forms, f)
	return nil
}

func (f *form) giveSamples(items []seedItem) {
	for _, q := range f.questions {
		for _, item := range items {
			if item.Type == q.kind && item.Title+item.Label == q.words() {
				q.samples = item.Samples
			}
		}
	}
}

// plantSubmissions spreads them over the period, every partial one in its
// turn; the dates rise, as the list is kept oldest first.
func (f *form) plantSubmissions(spread seedSubmissions) {
	if spread.Count == 0 {
		return
	}
	seed := hashText(f.id, "submissions")
	plan := &answerPlan{questions: f.questions}
	step := spread.To.Sub(spread.From) / time.Duration(spread.Count)
	f.submissions = make([]*submission, 0, spread.Count)
	made := make([]submission, spread.Count)
	for i := range made {
		x := mixed(seed, uint64(i))
		jitter := time.Duration(x % uint64(max(step, 1)))
		at := spread.From.Add(time.Duration(i)*step + jitter).Truncate(time.Second)
		before, after := i*spread.Partial/spread.Count, (i+1)*spread.Partial/spread.Count
		made[i] = submission{id: shortID(x, 6), at: at, completed: before == after, seed: x, plan: plan}
		f.add(&made[i])
	}
}

// blocks writes the items out as the blocks Tally would hold.
func (seeded seedForm) blocks() ([]block, error) {
	b := &blockWriter{form: seeded.ID}
	if seeded.Name != nil {
		b.add("FORM_TITLE", "TEXT", map[string]any{"html": strings.ReplaceAll(*seeded.Name, "\n", "<br>")})
		b.blocks[0].Payload["title"] = *seeded.Name
	}
	for i, item := range seeded.Items {
		if !slices.Contains(blockTypes, item.Type) {
			return nil, fmt.Errorf("item %d: type %q is not a block type", i, item.Type)
		}
		if err := b.write(item); err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
	}
	return b.blocks, nil
}

// blockWriter gives every block and group a uuid that follows from its place.
type blockWriter struct {
	form   string
	blocks []block
	groups uint64
	refs   []string
}

func (b *blockWriter) add(kind, groupType string, written map[string]any) {
	b.groups++
	b.addTo(b.group(), kind, groupType, written)
}

func (b *blockWriter) group() string { return uuidOf(mixed(hashText(b.form, "group"), b.groups)) }

func (b *blockWriter) addTo(group, kind, groupType string, written map[string]any) block {
	id := uuidOf(mixed(hashText(b.form, "block"), uint64(len(b.blocks))))
	added := block{UUID: id, Type: kind, GroupUUID: group, GroupType: groupType, Payload: readPayload(kind, written)}
	b.blocks = append(b.blocks, added)
	return added
}

func (b *blockWriter) write(item seedItem) error {
	if item.Title != "" {
		b.add("TITLE", "QUESTION", map[string]any{"html": item.Title})
	}
	if item.Label != "" {
		b.add("LABEL", "LABEL", map[string]any{"html": item.Label})
	}
	payload, err := b.payload(item)
	if err != nil {
		return err
	}
	b.groups++
	group := b.group()
	b.remember(item.Ref, group)
	switch {
	case item.Type == "MATRIX":
		b.matrix(group, item, payload)
	case len(item.Options) > 0:
		b.options(group, item, payload)
	default:
		added := b.addTo(group, item.Type, item.Type, payload)
		b.remember(item.Ref+".block", added.UUID)
	}
	return nil
}

// remember lets a later payload name an earlier group, block or option:
// {{ref}}, {{ref.block}}, {{ref.0}}.
func (b *blockWriter) remember(ref, uuid string) {
	b.refs = append(b.refs, "{{"+ref+"}}", uuid)
}

func (b *blockWriter) payload(item seedItem) (map[string]any, error) {
	payload := map[string]any{}
	if item.Payload != nil {
		source := strings.NewReplacer(b.refs...).Replace(string(item.Payload))
		dec := json.NewDecoder(bytes.NewReader([]byte(source)))
		dec.UseNumber()
		if err := dec.Decode(&payload); err != nil {
			return nil, fmt.Errorf("payload: %w", err)
		}
	}
	if item.HTML != "" {
		payload["html"] = item.HTML
	}
	if item.Title+item.Label != "" {
		payload["isRequired"] = item.Required
	}
	switch item.Type {
	case "HIDDEN_FIELDS":
		payload["hiddenFields"] = b.fields(item)
	case "CALCULATED_FIELDS":
		payload["calculatedFields"] = b.fields(item)
	}
	return payload, nil
}

func (b *blockWriter) fields(item seedItem) []any {
	list := []any{}
	for _, f := range item.Fields {
		id := uuidOf(hashText(b.form, item.Type, f.Name))
		field := map[string]any{"uuid": id, "name": f.Name}
		if item.Type == "CALCULATED_FIELDS" {
			field["type"], field["value"] = f.Type, f.Value
		}
		b.remember(item.Ref+"."+f.Name, id)
		list = append(list, field)
	}
	return list
}

// options writes one block for each; "Other" becomes the free-text option.
func (b *blockWriter) options(group string, item seedItem, payload map[string]any) {
	kind := item.Type + "_OPTION"
	if item.Type == "CHECKBOXES" {
		kind = "CHECKBOX"
	}
	hasOther := slices.Contains(item.Options, "Other")
	for i, text := range item.Options {
		p := mergedSettings(payload, place(i, len(item.Options)))
		p["text"], p["randomize"] = text, false
		if hasOther {
			p["hasOtherOption"], p["isOtherOption"] = true, text == "Other"
		}
		added := b.addTo(group, kind, item.Type, p)
		b.remember(fmt.Sprintf("%s.%d", item.Ref, i), added.UUID)
	}
}

func (b *blockWriter) matrix(group string, item seedItem, payload map[string]any) {
	own := mergedSettings(payload, map[string]any{"index": len(item.Columns), "isFirst": false, "isLast": true})
	b.addTo(group, "MATRIX", "MATRIX", own)
	for i, text := range item.Columns {
		p := mergedSettings(payload, place(i, len(item.Columns)))
		p["html"] = text
		b.addTo(group, "MATRIX_COLUMN", "MATRIX", p)
	}
	for i, text := range item.Rows {
		p := mergedSettings(payload, place(i, len(item.Rows)))
		p["html"] = text
		b.addTo(group, "MATRIX_ROW", "MATRIX", p)
	}
}

func place(i, of int) map[string]any {
	return map[string]any{"index": i, "isFirst": i == 0, "isLast": i == of-1}
}
