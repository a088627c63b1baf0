package sandbox

import (
	"slices"
	"time"
)

// state is the whole pretend company; Sandbox.mu guards it. Blocks, settings
// and payloads inside are replaced, never changed in place, so that a reply
// may go on using them after the lock is released.
type state struct {
	salt          uint64
	issued        uint64
	keys          map[string]*apiKey
	organizations []*organization
	users         []*user
	workspaces    []*workspace
	forms         []*form
	webhooks      []*webhook
}

type apiKey struct {
	userID  string
	revoked bool
}

type organization struct {
	id         string
	creatorID  string
	plan       Plan
	hadWebhook bool
	invites    []*invite
}

type user struct {
	id, firstName, lastName, email, organizationID, timezone string
	avatarURL                                                *string
	twoFactor, deleted                                       bool
	createdAt, updatedAt                                     time.Time
}

type invite struct {
	id, email, creatorID string
	workspaceIDs         []string
	createdAt            time.Time
}

type workspace struct {
	id, name, organizationID, creatorID string
	members                             []string
	folders                             []*folder
	trashed                             bool
	createdAt, updatedAt                time.Time
}

type folder struct {
	ID              string  `json:"id"`
	Name            string  `json:"name"`
	WorkspaceID     string  `json:"workspaceId"`
	ParentID        *string `json:"parentId"`
	CreatedByUserID string  `json:"createdByUserId"`
	CreatedAt       stamp   `json:"createdAt"`
	UpdatedAt       stamp   `json:"updatedAt"`
}

type form struct {
	id, workspaceID, organizationID string
	name                            *string
	nameModified                    bool
	folderID                        *string
	status                          string
	settings                        map[string]any
	blocks                          []block
	questions                       []*question
	retired                         []*question
	counts                          map[string]int
	submissions                     []*submission
	partial                         int
	createdAt, updatedAt            time.Time
}

type block struct {
	UUID      string         `json:"uuid"`
	Type      string         `json:"type"`
	GroupUUID string         `json:"groupUuid"`
	GroupType string         `json:"groupType"`
	Payload   map[string]any `json:"payload"`
}

// newID hands out the next short id. The salt keeps the ids of two runs
// apart, so that whoever stores events by id never mistakes one for another.
func (st *state) newID() string {
	st.issued++
	return shortID(mixed(st.salt, st.issued), 6)
}

func (st *state) newUUID() string {
	st.issued++
	return uuidOf(mixed(st.salt, st.issued))
}

func (st *state) organization(id string) *organization {
	return first(st.organizations, func(o *organization) bool { return o.id == id })
}

func (st *state) user(id string) *user {
	return first(st.users, func(u *user) bool { return u.id == id })
}

func (st *state) workspace(id string) *workspace {
	return first(st.workspaces, func(w *workspace) bool { return w.id == id && !w.trashed })
}

func (st *state) form(id string) *form {
	return first(st.forms, func(f *form) bool { return f.id == id })
}

func (st *state) webhook(id string) *webhook {
	return first(st.webhooks, func(w *webhook) bool { return w.ID == id })
}

func first[T any](list []*T, ok func(*T) bool) *T {
	if i := slices.IndexFunc(list, ok); i >= 0 {
		return list[i]
	}
	return nil
}

func (w *workspace) has(userID string) bool { return slices.Contains(w.members, userID) }

func (f *form) closed() bool {
	closed, _ := f.settings["isClosed"].(bool)
	return closed
}

// stamp is a time as Tally writes it: UTC with milliseconds.
type stamp time.Time

// MarshalJSON writes the time in Tally's format.
func (s stamp) MarshalJSON() ([]byte, error) {
	return []byte(`"` + s.String() + `"`), nil
}

func (s stamp) String() string { return time.Time(s).UTC().Format("2006-01-02T15:04:05.000Z") }
