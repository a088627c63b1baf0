package sandbox

import (
	"net/http"
	"slices"
)

type formView struct {
	ID                   string  `json:"id"`
	Name                 *string `json:"name"`
	IsNameModifiedByUser bool    `json:"isNameModifiedByUser"`
	WorkspaceID          string  `json:"workspaceId"`
	FolderID             *string `json:"folderId,omitempty"`
	OrganizationID       string  `json:"organizationId"`
	Status               string  `json:"status"`
	HasDraftBlocks       bool    `json:"hasDraftBlocks"`
	NumberOfSubmissions  int     `json:"numberOfSubmissions"`
	IsClosed             bool    `json:"isClosed"`
	Index                *int    `json:"index,omitempty"`
	Payments             []money `json:"payments,omitempty"`
	CreatedAt            stamp   `json:"createdAt"`
	UpdatedAt            stamp   `json:"updatedAt"`
}

type money struct {
	Amount   any    `json:"amount"`
	Currency string `json:"currency"`
}

type fullFormView struct {
	formView
	Settings map[string]any `json:"settings"`
	Blocks   []block        `json:"blocks"`
}

// createdView is the shorter answer to a create. [behaviour create-answer]
type createdView struct {
	ID             string  `json:"id"`
	Name           *string `json:"name"`
	WorkspaceID    string  `json:"workspaceId"`
	OrganizationID string  `json:"organizationId"`
	Status         string  `json:"status"`
	HasDraftBlocks bool    `json:"hasDraftBlocks"`
	IsClosed       bool    `json:"isClosed"`
	UpdatedAt      stamp   `json:"updatedAt"`
	CreatedAt      stamp   `json:"createdAt"`
}

func (f *form) view() formView {
	return formView{
		ID: f.id, Name: f.name, IsNameModifiedByUser: f.nameModified, WorkspaceID: f.workspaceID,
		FolderID: f.folderID, OrganizationID: f.organizationID, Status: f.status,
		NumberOfSubmissions: len(f.submissions), IsClosed: f.closed(), Payments: f.payments(),
		CreatedAt: stamp(f.createdAt), UpdatedAt: stamp(f.updatedAt),
	}
}

func (f *form) metadata() createdView {
	return createdView{
		ID: f.id, Name: f.name, WorkspaceID: f.workspaceID, OrganizationID: f.organizationID, Status: f.status,
		IsClosed: f.closed(), CreatedAt: stamp(f.createdAt), UpdatedAt: stamp(f.updatedAt),
	}
}

func (f *form) payments() []money {
	var sums []money
	for _, b := range f.blocks {
		if b.Type == "PAYMENT" {
			currency, _ := b.Payload["currency"].(string)
			sums = append(sums, money{b.Payload["amount"], currency})
		}
	}
	return sums
}

type formPage struct {
	Items   []formView `json:"items"`
	Page    int        `json:"page"`
	Limit   int        `json:"limit"`
	Total   int        `json:"total"`
	HasMore bool       `json:"hasMore"`
}

// listForms shows trashed forms too. [behaviour list-shows-trash]
func listForms(_ *Sandbox, c *call) *reply {
	wanted := c.query["workspaceIds"]
	for _, id := range wanted {
		if w := c.state.workspace(id); w != nil && !w.has(c.user.id) {
			return forbidden()
		}
	}
	views := []formView{}
	for _, f := range c.state.forms {
		if !c.state.mayRead(c.user, f) || len(wanted) > 0 && !slices.Contains(wanted, f.workspaceID) {
			continue
		}
		view, index := f.view(), len(views)
		view.Index = &index
		views = append(views, view)
	}
	limit := c.number("limit", 50)
	items, number, more := pageOf(c, views, limit)
	if c.bare() {
		return ok(items)
	}
	return ok(formPage{Items: items, Page: number, Limit: limit, Total: len(views), HasMore: more})
}

// mayRead follows the members of the form's workspace, a trashed one's too.
func (st *state) mayRead(u *user, f *form) bool {
	w := first(st.workspaces, func(w *workspace) bool { return w.id == f.workspaceID })
	return w != nil && w.has(u.id)
}

// formOf finds the form of the path: 404 when there is none, 403 for another
// user's, the chosen status for the trash. [behaviour trashed-form]
func (s *Sandbox) formOf(c *call) (*form, *reply) { return s.formNamed(c, c.path("formId")) }

func (s *Sandbox) formNamed(c *call, id string) (*form, *reply) {
	f := c.state.form(id)
	switch {
	case f == nil:
		return nil, notFound("Form")
	case !c.state.mayRead(c.user, f):
		return nil, forbidden()
	case f.status == "DELETED":
		return nil, gone(s.opts.trashedStatus, "Form")
	}
	return f, nil
}

func getForm(s *Sandbox, c *call) *reply {
	f, refusal := s.formOf(c)
	if refusal != nil {
		return refusal
	}
	return ok(fullFormView{formView: f.view(), Settings: f.settings, Blocks: f.blocks})
}

// createForm puts a form without a workspace into the caller's first one.
// [behaviour default-workspace]
func createForm(_ *Sandbox, c *call) *reply {
	home, refusal := c.homeOfNewForm()
	if refusal != nil {
		return refusal
	}
	f := &form{
		id: c.state.newID(), workspaceID: home.id, organizationID: home.organizationID,
		counts: map[string]int{}, createdAt: c.now, updatedAt: c.now,
	}
	f.folderID, refusal = c.folderOfNewForm(home)
	if refusal != nil {
		return refusal
	}
	f.update(c, Replace)
	if password, given := c.body["password"].(string); given {
		f.settings = mergedSettings(f.settings, map[string]any{"password": password})
	}
	c.state.forms = slices.Insert(c.state.forms, 0, f)
	return created(f.metadata())
}

func (c *call) homeOfNewForm() (*workspace, *reply) {
	id, given := c.body["workspaceId"].(string)
	if !given {
		w := first(c.state.workspaces, func(w *workspace) bool { return !w.trashed && w.has(c.user.id) })
		if w == nil {
			return nil, forbidden()
		}
		return w, nil
	}
	return c.member(id)
}

func (c *call) folderOfNewForm(home *workspace) (*string, *reply) {
	id, given := c.body["folderId"].(string)
	if !given {
		return nil, nil
	}
	if home.folder(id) == nil {
		return nil, notFound("Folder")
	}
	return &id, nil
}

func updateForm(s *Sandbox, c *call) *reply {
	f, refusal := s.formOf(c)
	if refusal != nil {
		return refusal
	}
	f.update(c, s.opts.settingsPatch)
	return ok(f.metadata())
}

// update replaces all blocks when any are given. [behaviour blocks-replaced]
// [behaviour settings-patch]
func (f *form) update(c *call, patch SettingsPatch) {
	f.updatedAt = c.now
	if status, given := c.body["status"].(string); given {
		f.status = status
	}
	if list, given := c.body["blocks"].([]any); given {
		f.setBlocks(readBlocks(list), c.state.newID, c.now)
		f.nameAfterTitle()
	}
	if name, given := c.body["name"].(string); given {
		f.name, f.nameModified = &name, true
	}
	if settings, given := c.body["settings"].(map[string]any); given {
		if patch == Merge {
			settings = mergedSettings(f.settings, settings)
		}
		f.settings = completeSettings(settings)
	}
}

// nameAfterTitle takes the name from FORM_TITLE unless somebody set one.
// [behaviour name-from-title]
func (f *form) nameAfterTitle() {
	if f.nameModified {
		return
	}
	f.name = nil
	for _, b := range f.blocks {
		if title, _ := b.Payload["title"].(string); b.Type == "FORM_TITLE" && title != "" {
			f.name = &title
			return
		}
	}
}

// deleteForm moves the form to the trash. [behaviour trash]
func deleteForm(s *Sandbox, c *call) *reply {
	f, refusal := s.formOf(c)
	if refusal != nil {
		return refusal
	}
	f.trash(c)
	return empty(http.StatusNoContent)
}

func (f *form) trash(c *call) { f.status, f.updatedAt = "DELETED", c.now }

// listBlocks wraps the blocks with id and name. [behaviour blocks-wrapper]
func listBlocks(s *Sandbox, c *call) *reply {
	f, refusal := s.formOf(c)
	if refusal != nil {
		return refusal
	}
	return ok(f.blockList())
}

type blockList struct {
	ID     string  `json:"id"`
	Name   *string `json:"name"`
	Blocks []block `json:"blocks"`
}

func (f *form) blockList() blockList { return blockList{f.id, f.name, f.blocks} }

// updateBlocks answers as listBlocks does: the schema types one block, which
// cannot be meant. [behaviour blocks-patch-answer]
func updateBlocks(s *Sandbox, c *call) *reply {
	f, refusal := s.formOf(c)
	if refusal != nil {
		return refusal
	}
	f.update(c, s.opts.settingsPatch)
	return ok(f.blockList())
}

// readBlocks takes blocks the validator has accepted.
func readBlocks(list []any) []block {
	blocks := make([]block, len(list))
	for i, item := range list {
		m := item.(map[string]any)
		blocks[i] = block{
			UUID: m["uuid"].(string), Type: m["type"].(string),
			GroupUUID: m["groupUuid"].(string), GroupType: m["groupType"].(string),
			Payload: readPayload(m["type"].(string), m["payload"].(map[string]any)),
		}
	}
	return blocks
}

// readPayload turns written html into what reading shows.
func readPayload(blockType string, written map[string]any) map[string]any {
	payload := make(map[string]any, len(written)+1)
	for name, v := range written {
		if source, isText := v.(string); name == "html" && isText {
			payload["safeHTMLSchema"] = toSchema(source)
			continue
		}
		payload[name] = v
	}
	if blockType == "FORM_TITLE" && payload["safeHTMLSchema"] != nil {
		payload["title"] = plainText(payload["safeHTMLSchema"])
	}
	return payload
}
