package sandbox

import (
	"net/http"
	"slices"
)

type workspaceView struct {
	ID              string       `json:"id"`
	Name            string       `json:"name"`
	Index           int          `json:"index"`
	Members         []userView   `json:"members"`
	Invites         []inviteView `json:"invites"`
	Folders         []folder     `json:"folders"`
	CreatedByUserID string       `json:"createdByUserId"`
	CreatedAt       stamp        `json:"createdAt"`
	UpdatedAt       stamp        `json:"updatedAt"`
}

type inviteView struct {
	ID              string   `json:"id"`
	Email           string   `json:"email"`
	WorkspaceIDs    []string `json:"workspaceIds"`
	CreatedByUserID string   `json:"createdByUserId"`
	CreatedAt       stamp    `json:"createdAt"`
	UpdatedAt       stamp    `json:"updatedAt"`
}

func (st *state) viewWorkspace(w *workspace, index int) workspaceView {
	view := workspaceView{
		ID: w.id, Name: w.name, Index: index, Members: []userView{}, Invites: []inviteView{}, Folders: []folder{},
		CreatedByUserID: w.creatorID, CreatedAt: stamp(w.createdAt), UpdatedAt: stamp(w.updatedAt),
	}
	for _, id := range w.members {
		view.Members = append(view.Members, st.user(id).view())
	}
	for _, in := range st.organization(w.organizationID).invites {
		if slices.Contains(in.workspaceIDs, w.id) {
			view.Invites = append(view.Invites, inviteView{in.id, in.email, in.workspaceIDs, in.creatorID, stamp(in.createdAt), stamp(in.createdAt)})
		}
	}
	for _, f := range w.folders {
		view.Folders = append(view.Folders, *f)
	}
	return view
}

// mine are the workspaces the caller is a member of.
func (c *call) mine() []workspaceView {
	views := []workspaceView{}
	for _, w := range c.state.workspaces {
		if !w.trashed && w.has(c.user.id) {
			views = append(views, c.state.viewWorkspace(w, len(views)))
		}
	}
	return views
}

type workspacePage struct {
	Items   []workspaceView `json:"items"`
	Page    int             `json:"page"`
	Limit   int             `json:"limit"`
	Total   int             `json:"total"`
	HasMore bool            `json:"hasMore"`
}

// listWorkspaces has no limit parameter, yet answers limit 50.
// [behaviour workspaces-limit]
func listWorkspaces(_ *Sandbox, c *call) *reply {
	all := c.mine()
	items, number, more := pageOf(c, all, 50)
	if c.bare() {
		return ok(items)
	}
	return ok(workspacePage{items, number, 50, len(all), more})
}

// createWorkspace makes the caller its only member. [behaviour workspace-members]
func createWorkspace(_ *Sandbox, c *call) *reply {
	w := &workspace{
		id: c.state.newID(), name: c.body["name"].(string), organizationID: c.org.id, creatorID: c.user.id,
		members: []string{c.user.id}, createdAt: c.now, updatedAt: c.now,
	}
	c.state.workspaces = append(c.state.workspaces, w)
	return created(c.state.viewWorkspace(w, len(c.mine())-1))
}

// member finds a workspace and refuses those of others.
func (c *call) member(id string) (*workspace, *reply) {
	w := c.state.workspace(id)
	switch {
	case w == nil:
		return nil, notFound("Workspace")
	case !w.has(c.user.id):
		return nil, forbidden()
	}
	return w, nil
}

func getWorkspace(_ *Sandbox, c *call) *reply {
	w, refusal := c.member(c.path("workspaceId"))
	if refusal != nil {
		return refusal
	}
	all := c.mine()
	return ok(all[slices.IndexFunc(all, func(v workspaceView) bool { return v.ID == w.id })])
}

func renameWorkspace(_ *Sandbox, c *call) *reply {
	w, refusal := c.member(c.path("workspaceId"))
	if refusal != nil {
		return refusal
	}
	w.name, w.updatedAt = c.body["name"].(string), c.now
	return empty(http.StatusOK)
}

// deleteWorkspace trashes the workspace and its forms. [behaviour workspace-trash]
func deleteWorkspace(_ *Sandbox, c *call) *reply {
	w, refusal := c.member(c.path("workspaceId"))
	if refusal != nil {
		return refusal
	}
	w.trashed = true
	c.trashForms(func(f *form) bool { return f.workspaceID == w.id })
	return empty(http.StatusNoContent)
}

func (c *call) trashForms(doomed func(*form) bool) {
	for _, f := range c.state.forms {
		if doomed(f) {
			f.trash(c)
		}
	}
}

func (w *workspace) folder(id string) *folder {
	return first(w.folders, func(f *folder) bool { return f.ID == id })
}

func listFolders(_ *Sandbox, c *call) *reply {
	w, refusal := c.member(c.path("workspaceId"))
	if refusal != nil {
		return refusal
	}
	return ok(c.state.viewWorkspace(w, 0).Folders)
}

func createFolder(_ *Sandbox, c *call) *reply {
	w, refusal := c.member(c.path("workspaceId"))
	if refusal != nil {
		return refusal
	}
	parent := optionalText(c.body["parentId"])
	if parent != nil && w.folder(*parent) == nil {
		return notFound("Folder")
	}
	f := &folder{
		ID: c.state.newID(), Name: c.body["name"].(string), WorkspaceID: w.id, ParentID: parent,
		CreatedByUserID: c.user.id, CreatedAt: stamp(c.now), UpdatedAt: stamp(c.now),
	}
	w.folders = append(w.folders, f)
	return created(*f)
}

func (c *call) folder() (*workspace, *folder, *reply) {
	w, refusal := c.member(c.path("workspaceId"))
	if refusal != nil {
		return nil, nil, refusal
	}
	f := w.folder(c.path("folderId"))
	if f == nil {
		return nil, nil, notFound("Folder")
	}
	return w, f, nil
}

func renameFolder(_ *Sandbox, c *call) *reply {
	_, f, refusal := c.folder()
	if refusal != nil {
		return refusal
	}
	f.Name, f.UpdatedAt = c.body["name"].(string), stamp(c.now)
	return empty(http.StatusOK)
}

// deleteFolder takes the whole subtree; forms inside go to the trash.
// [behaviour folder-subtree]
func deleteFolder(_ *Sandbox, c *call) *reply {
	w, f, refusal := c.folder()
	if refusal != nil {
		return refusal
	}
	doomed := w.subtree(f.ID)
	w.folders = slices.DeleteFunc(slices.Clone(w.folders), func(o *folder) bool { return slices.Contains(doomed, o.ID) })
	c.trashForms(func(f *form) bool { return f.folderID != nil && slices.Contains(doomed, *f.folderID) })
	return empty(http.StatusNoContent)
}

func (w *workspace) subtree(id string) []string {
	ids := []string{id}
	for _, f := range w.folders {
		if f.ParentID != nil && *f.ParentID == id {
			ids = append(ids, w.subtree(f.ID)...)
		}
	}
	return ids
}
