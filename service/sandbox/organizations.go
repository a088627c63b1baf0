package sandbox

import (
	"net/http"
	"slices"
	"strings"
)

type pendingInvite struct {
	ID             string `json:"id"`
	OrganizationID string `json:"organizationId"`
	Email          string `json:"email"`
	CreatedAt      stamp  `json:"createdAt"`
	UpdatedAt      stamp  `json:"updatedAt"`
}

// organization finds the one of the path, which must be the caller's.
func (c *call) organization() (*organization, *reply) {
	org := c.state.organization(c.path("organizationId"))
	switch {
	case org == nil:
		return nil, notFound("Organization")
	case org.id != c.user.organizationID:
		return nil, forbidden()
	}
	return org, nil
}

// listUsers is a bare array whose users carry no plan. [behaviour bare-lists]
func listUsers(_ *Sandbox, c *call) *reply {
	org, refusal := c.organization()
	if refusal != nil {
		return refusal
	}
	views := []userView{}
	for _, u := range c.state.users {
		if u.organizationID == org.id && !u.deleted {
			views = append(views, u.view())
		}
	}
	return ok(views)
}

// removeUser: the creator removes anyone, others only themselves; the removed
// user's keys die at once, perhaps the one in use. [behaviour remove-user]
func removeUser(_ *Sandbox, c *call) *reply {
	org, refusal := c.organization()
	if refusal != nil {
		return refusal
	}
	leaving := c.state.user(c.path("userId"))
	if leaving == nil || leaving.organizationID != org.id || leaving.deleted {
		return notFound("User")
	}
	if c.user.id != org.creatorID && c.user.id != leaving.id {
		return forbidden()
	}
	leaving.deleted, leaving.updatedAt = true, c.now
	for _, k := range c.state.keys {
		k.revoked = k.revoked || k.userID == leaving.id
	}
	for _, w := range c.state.workspaces {
		w.members = slices.DeleteFunc(slices.Clone(w.members), func(id string) bool { return id == leaving.id })
	}
	return empty(http.StatusNoContent)
}

func listInvites(_ *Sandbox, c *call) *reply {
	org, refusal := c.organization()
	if refusal != nil {
		return refusal
	}
	views := []pendingInvite{}
	for _, in := range org.invites {
		views = append(views, pendingInvite{in.id, org.id, in.email, stamp(in.createdAt), stamp(in.createdAt)})
	}
	return ok(views)
}

// inviteBody: addresses in one string, workspaces in an array.
// [behaviour invite-emails-string]
var inviteBody = object(need("workspaceIds", filled(listOf(word))), need("emails", addressList))

func addressList(path string, v any) *violation {
	if bad := word(path, v); bad != nil {
		return bad
	}
	for _, address := range splitAddresses(v.(string)) {
		if name, host, _ := strings.Cut(address, "@"); name == "" || !strings.Contains(host, ".") {
			return complain(path, "must be a valid list of email addresses", "string.email")
		}
	}
	return nil
}

func splitAddresses(list string) []string {
	var addresses []string
	for _, part := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ';' }) {
		addresses = append(addresses, strings.TrimSpace(part))
	}
	return addresses
}

// createInvites answers 204: the status is not known. [behaviour invite-create-status]
func createInvites(_ *Sandbox, c *call) *reply {
	org, refusal := c.organization()
	if refusal != nil {
		return refusal
	}
	var ids []string
	for _, item := range c.body["workspaceIds"].([]any) {
		w, refusal := c.member(item.(string))
		if refusal != nil {
			return refusal
		}
		ids = append(ids, w.id)
	}
	for _, address := range splitAddresses(c.body["emails"].(string)) {
		org.invites = append(org.invites, &invite{
			id: c.state.newID(), email: address, creatorID: c.user.id, workspaceIDs: ids, createdAt: c.now,
		})
	}
	return empty(http.StatusNoContent)
}

// cancelInvite is for the invite's creator alone. [behaviour cancel-invite]
func cancelInvite(_ *Sandbox, c *call) *reply {
	org, refusal := c.organization()
	if refusal != nil {
		return refusal
	}
	in := first(org.invites, func(in *invite) bool { return in.id == c.path("inviteId") })
	switch {
	case in == nil:
		return notFound("Invite")
	case in.creatorID != c.user.id:
		return forbidden()
	}
	org.invites = slices.DeleteFunc(slices.Clone(org.invites), func(o *invite) bool { return o == in })
	return empty(http.StatusNoContent)
}
