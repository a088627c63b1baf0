package sandbox

import (
	"bytes"
	_ "embed" // the built-in company
	"encoding/json"
	"fmt"
	"os"
	"time"
)

//go:embed seed.json
var builtIn []byte

// seedFile is the JSON format of a seed; SEED.md describes it.
type seedFile struct {
	Organizations []seedOrganization `json:"organizations"`
}

type seedOrganization struct {
	ID         string          `json:"id"`
	Plan       Plan            `json:"plan"`
	Users      []seedUser      `json:"users"`
	Workspaces []seedWorkspace `json:"workspaces"`
	Invites    []seedInvite    `json:"invites"`
	Forms      []seedForm      `json:"forms"`
	Webhooks   []seedWebhook   `json:"webhooks"`
}

type seedUser struct {
	ID        string    `json:"id"`
	FirstName string    `json:"firstName"`
	LastName  string    `json:"lastName"`
	Email     string    `json:"email"`
	Key       string    `json:"key"`
	Timezone  string    `json:"timezone"`
	TwoFactor bool      `json:"twoFactor"`
	CreatedAt time.Time `json:"createdAt"`
}

type seedWorkspace struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	Members   []string     `json:"members"`
	Folders   []seedFolder `json:"folders"`
	CreatedAt time.Time    `json:"createdAt"`
}

type seedFolder struct {
	ID       string  `json:"id"`
	Name     string  `json:"name"`
	ParentID *string `json:"parentId"`
}

type seedInvite struct {
	ID           string    `json:"id"`
	Email        string    `json:"email"`
	WorkspaceIDs []string  `json:"workspaceIds"`
	CreatedAt    time.Time `json:"createdAt"`
}

// seed builds a fresh state from the seed file or the built-in company.
func (s *Sandbox) seed() (*state, error) {
	source, name := builtIn, "built-in seed"
	if s.opts.seedFile != "" {
		read, err := os.ReadFile(s.opts.seedFile)
		if err != nil {
			return nil, fmt.Errorf("read seed: %w", err)
		}
		source, name = read, s.opts.seedFile
	}
	var file seedFile
	dec := json.NewDecoder(bytes.NewReader(source))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("read seed %s: %w", name, err)
	}
	st := &state{salt: uint64(s.opts.clock().UnixNano()), keys: map[string]*apiKey{}}
	if len(file.Organizations) == 0 {
		return nil, fmt.Errorf("read seed %s: it has no organizations", name)
	}
	for i, org := range file.Organizations {
		if err := st.plant(org); err != nil {
			return nil, fmt.Errorf("read seed %s: organization %q: %w", name, org.ID, err)
		}
		if i == 0 {
			st.adopt(&s.opts, org)
		}
	}
	return st, nil
}

// adopt lets the options override what the seed says of the first organization.
func (st *state) adopt(o *options, org seedOrganization) {
	if o.plan != "" {
		st.organizations[0].plan = o.plan
	}
	first := org.Users[0]
	delete(st.keys, first.Key)
	st.keys[o.key] = &apiKey{userID: first.ID}
}

func (st *state) plant(org seedOrganization) error {
	if len(org.Users) == 0 || !known(org.Plan) {
		return fmt.Errorf("it needs users and a plan (FREE, PRO, BUSINESS)")
	}
	owner := org.Users[0].ID
	planted := &organization{id: org.ID, creatorID: owner, plan: org.Plan, hadWebhook: len(org.Webhooks) > 0}
	st.organizations = append(st.organizations, planted)
	for _, u := range org.Users {
		st.plantUser(org.ID, u)
	}
	for _, in := range org.Invites {
		planted.invites = append(planted.invites, &invite{
			id: in.ID, email: in.Email, creatorID: owner, workspaceIDs: in.WorkspaceIDs, createdAt: in.CreatedAt,
		})
	}
	for _, w := range org.Workspaces {
		if err := st.plantWorkspace(org.ID, owner, w); err != nil {
			return fmt.Errorf("workspace %q: %w", w.ID, err)
		}
	}
	for _, f := range org.Forms {
		if err := st.plantForm(org.ID, f); err != nil {
			return fmt.Errorf("form %q: %w", f.ID, err)
		}
	}
	for _, w := range org.Webhooks {
		if err := st.plantWebhook(w); err != nil {
			return fmt.Errorf("webhook %q: %w", w.ID, err)
		}
	}
	return nil
}

func (st *state) plantUser(orgID string, u seedUser) {
	st.users = append(st.users, &user{
		id: u.ID, firstName: u.FirstName, lastName: u.LastName, email: u.Email, organizationID: orgID,
		timezone: u.Timezone, twoFactor: u.TwoFactor, createdAt: u.CreatedAt, updatedAt: u.CreatedAt,
	})
	if u.Key != "" {
		st.keys[u.Key] = &apiKey{userID: u.ID}
	}
}

func (st *state) plantWorkspace(orgID, owner string, w seedWorkspace) error {
	for _, id := range w.Members {
		if st.user(id) == nil {
			return fmt.Errorf("member %q is not in the seed", id)
		}
	}
	planted := &workspace{
		id: w.ID, name: w.Name, organizationID: orgID, creatorID: owner, members: w.Members,
		createdAt: w.CreatedAt, updatedAt: w.CreatedAt,
	}
	for _, f := range w.Folders {
		planted.folders = append(planted.folders, &folder{
			ID: f.ID, Name: f.Name, WorkspaceID: w.ID, ParentID: f.ParentID, CreatedByUserID: owner,
			CreatedAt: stamp(w.CreatedAt), UpdatedAt: stamp(w.CreatedAt),
		})
	}
	st.workspaces = append(st.workspaces, planted)
	return nil
}
