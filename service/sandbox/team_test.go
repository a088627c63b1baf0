package sandbox

import (
	"fmt"
	"testing"
)

func TestMe(t *testing.T) {
	clock := newWatch()
	b := start(t, WithClock(clock.read))
	a := b.do("GET /users/me").want(200)
	for path, want := range map[string]any{
		"id": "usrIna", "firstName": "Ina", "lastName": "Saltmarsh", "fullName": "Ina Saltmarsh", "email": "ina@example.com",
		"avatarUrl": nil, "organizationId": "orgSal", "isDeleted": false, "hasTwoFactorEnabled": true,
		"subscriptionPlan": "BUSINESS", "timezone": "Europe/Brussels", "createdAt": "2025-05-12T07:58:54.000Z", "#": 13,
	} {
		a.wantAt(path, want)
	}
	b.do("GET /users/me?timezone=Europe/Brussels").want(200).wantAt("updatedAt", a.at("updatedAt"))
	b.do("GET /users/me?timezone=America/Port-au-Prince").want(200).wantAt("timezone", "America/Port-au-Prince")
	b.do("GET /users/me").want(200).wantAt("timezone", "America/Port-au-Prince").wantAt("updatedAt", "2026-09-01T12:00:00.000Z")
	b.as("tly-sandbox-other").do("GET /users/me").want(200).wantAt("organizationId", "orgElt").wantAt("subscriptionPlan", "FREE")
}

func TestOrganizationUsers(t *testing.T) {
	b := start(t)
	a := b.do("GET /organizations/orgSal/users").want(200).wantAt("#", 3).wantAt("0.id", "usrIna").wantAt("2.email", "bea@example.com")
	a.wantAt("0.subscriptionPlan", nil).wantAt("0.fullName", "Ina Saltmarsh")
	for _, route := range []string{"users", "invites"} {
		b.do("GET /organizations/nobody/" + route).want(404).wantBody(`{"message":"Organization was not found"}`)
		b.do("GET /organizations/orgElt/" + route).want(403)
	}
}

func TestRemoveUser(t *testing.T) {
	for _, tc := range []struct {
		name, key, user string
		want            int
		wantUsers       int
	}{
		{"creator removes a colleague", "tly-sandbox", "usrBea", 204, 2},
		{"colleague removes themselves", "tly-sandbox-member", "usrTom", 204, 2},
		{"colleague removes another", "tly-sandbox-member", "usrBea", 403, 3},
		{"colleague removes the creator", "tly-sandbox-member", "usrIna", 403, 3},
		{"unknown user", "tly-sandbox", "nobody", 404, 3},
		{"another organization's user", "tly-sandbox", "usrKim", 404, 3},
		{"from another organization", "tly-sandbox-other", "usrTom", 403, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := start(t)
			b.as(tc.key).do("DELETE /organizations/orgSal/users/" + tc.user).want(tc.want)
			b.do("GET /organizations/orgSal/users").want(200).wantAt("#", tc.wantUsers)
			if tc.want == 204 {
				b.do("DELETE /organizations/orgSal/users/" + tc.user).want(404)
			}
		})
	}
}

// The removed user's keys die at once, even the one in use.
func TestRemovedUsersKey(t *testing.T) {
	b := start(t)
	b.as("tly-sandbox-member").do("DELETE /organizations/orgSal/users/usrTom").want(204)
	b.as("tly-sandbox-member").do("GET /users/me").want(401).wantBody("Unauthorized")
	b.do("GET /workspaces/wsTeam").want(200).wantAt("members.#", 2)
	b.do("DELETE /organizations/orgSal/users/usrIna").want(204)
	b.do("GET /users/me").want(401)
}

func TestInvites(t *testing.T) {
	b := start(t)
	b.do("GET /organizations/orgSal/invites").want(200).wantAt("#", 1).wantAt("0.id", "invOda").wantAt("0.email", "oda@example.com").
		wantAt("0.organizationId", "orgSal").wantAt("0.#", 5)
	b.do("POST /organizations/orgSal/invites", `{"workspaceIds":["wsCust","wsTeam"],"emails":"a@example.com, b@example.com;c@example.com"}`).
		want(204).wantBody("")
	a := b.do("GET /organizations/orgSal/invites").want(200).wantAt("#", 4).wantAt("2.email", "b@example.com")
	b.do("GET /workspaces/wsCust").want(200).wantAt("invites.#", 3).wantAt("invites.0.workspaceIds.#", 2).
		wantAt("invites.0.createdByUserId", "usrIna")
	id := a.at("1.id").(string)
	b.as("tly-sandbox-member").do("DELETE /organizations/orgSal/invites/" + id).want(403)
	b.as("tly-sandbox-other").do("DELETE /organizations/orgSal/invites/" + id).want(403)
	b.do("DELETE /organizations/orgSal/invites/" + id).want(204).wantBody("")
	b.do("DELETE /organizations/orgSal/invites/" + id).want(404).wantBody(`{"message":"Invite was not found"}`)
	b.do("GET /organizations/orgSal/invites").want(200).wantAt("#", 3)
}

func TestInviteBodies(t *testing.T) {
	b := start(t)
	for _, tc := range []struct {
		name, body string
		want       int
		wantType   any
	}{
		{"an array of emails", `{"workspaceIds":["wsCust"],"emails":["a@example.com"]}`, 400, "string.base"},
		{"email in the singular", `{"workspaceIds":["wsCust"],"email":"a@example.com"}`, 400, "any.required"},
		{"no workspaces", `{"emails":"a@example.com"}`, 400, "any.required"},
		{"empty workspaces", `{"workspaceIds":[],"emails":"a@example.com"}`, 400, "array.min"},
		{"workspaces as text", `{"workspaceIds":"wsCust","emails":"a@example.com"}`, 400, "array.base"},
		{"no address", `{"workspaceIds":["wsCust"],"emails":"a@example.com, somebody"}`, 400, "string.email"},
		{"empty", `{"workspaceIds":["wsCust"],"emails":""}`, 400, "string.empty"},
		{"unknown workspace", `{"workspaceIds":["nobody"],"emails":"a@example.com"}`, 404, nil},
		{"foreign workspace", `{"workspaceIds":["wsElse"],"emails":"a@example.com"}`, 403, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			a := b.do("POST /organizations/orgSal/invites", tc.body).want(tc.want)
			if tc.wantType != nil {
				a.wantAt("errors.0.type", tc.wantType)
			}
		})
	}
	b.do("GET /organizations/orgSal/invites").want(200).wantAt("#", 1)
}

func TestWorkspaces(t *testing.T) {
	b := start(t)
	a := b.do("GET /workspaces").want(200)
	for path, want := range map[string]any{
		"page": 1.0, "limit": 50.0, "total": 3.0, "hasMore": false, "items.#": 3, "items.0.id": "wsCust",
		"items.0.name": "Customers", "items.0.index": 0.0, "items.2.index": 2.0, "items.0.members.#": 2,
		"items.0.members.0.id": "usrIna", "items.0.folders.#": 2, "items.0.folders.1.parentId": "fldEvt",
		"items.0.folders.0.parentId": nil, "items.1.invites.0.email": "oda@example.com", "items.0.createdByUserId": "usrIna",
	} {
		a.wantAt(path, want)
	}
	b.do("GET /workspaces?page=2").want(200).wantAt("items.#", 0).wantAt("page", 2.0)
	b.as("tly-sandbox-member").do("GET /workspaces").want(200).wantAt("total", 1.0).wantAt("items.0.id", "wsTeam").wantAt("items.0.index", 0.0)
}

func TestOneWorkspace(t *testing.T) {
	b := start(t)
	b.do("GET /workspaces/wsShop").want(200).wantAt("id", "wsShop").wantAt("index", 2.0).wantAt("folders.#", 0)
	b.do("GET /workspaces/nobody").want(404).wantBody(`{"message":"Workspace was not found"}`)
	b.do("GET /workspaces/wsElse").want(403).wantBody(`{"message":"You do not have access to this resource"}`)
	b.as("tly-sandbox-member").do("GET /workspaces/wsShop").want(403)
}

func TestCreateAndRenameWorkspace(t *testing.T) {
	b := start(t)
	a := b.do("POST /workspaces", `{"name":"Events"}`).want(201).wantAt("name", "Events").wantAt("index", 3.0).
		wantAt("members.#", 1).wantAt("createdByUserId", "usrIna")
	id := a.at("id").(string)
	b.do("PATCH /workspaces/"+id, `{"name":"Fairs"}`).want(200).wantBody("")
	b.do("GET /workspaces/"+id).want(200).wantAt("name", "Fairs")
	b.do("PATCH /workspaces/"+id, `{}`).want(400).wantAt("errors.0.type", "any.required")
	b.do("POST /workspaces", `{"name":null}`).want(400).wantAt("errors.0.type", "string.base")
	b.as("tly-sandbox-member").do("GET /workspaces/" + id).want(403)
}

func TestDeleteWorkspace(t *testing.T) {
	b := start(t)
	b.do("DELETE /workspaces/wsShop").want(204).wantBody("")
	b.do("GET /workspaces/wsShop").want(404)
	b.do("DELETE /workspaces/wsShop").want(404)
	b.do("GET /workspaces").want(200).wantAt("total", 2.0)
	b.do("GET /forms/Whsale").want(404)
	b.do("GET /forms?workspaceIds=wsShop").want(200).wantAt("items.0.status", "DELETED").wantAt("items.1.status", "DELETED")
	b.do("POST /forms", `{"status":"DRAFT","blocks":[],"workspaceId":"wsShop"}`).want(404)
}

func TestFolders(t *testing.T) {
	b := start(t)
	b.do("GET /workspaces/wsCust/folders").want(200).wantAt("#", 2).wantAt("0.#", 7)
	a := b.do("POST /workspaces/wsCust/folders", `{"name":"Latte art","parentId":"fldCls"}`).want(201)
	a.wantAt("name", "Latte art").wantAt("workspaceId", "wsCust").wantAt("parentId", "fldCls").wantAt("createdByUserId", "usrIna").wantAt("#", 7)
	again := b.do("POST /workspaces/wsCust/folders", `{"name":"Latte art"}`).want(201).wantAt("parentId", nil)
	if a.at("id") == again.at("id") {
		t.Errorf("two folders share the id %v", a.at("id"))
	}
	id := fmt.Sprint(a.at("id"))
	b.do("PATCH /workspaces/wsCust/folders/"+id, `{"name":"Milk"}`).want(200).wantBody("")
	b.do("GET /workspaces/wsCust/folders").want(200).wantAt("2.name", "Milk")
	for _, tc := range []struct {
		call, body string
		want       int
	}{
		{"POST /workspaces/wsCust/folders", `{"name":"x","parentId":"nobody"}`, 404},
		{"POST /workspaces/wsCust/folders", `{"parentId":"fldCls"}`, 400},
		{"POST /workspaces/wsElse/folders", `{"name":"x"}`, 403},
		{"PATCH /workspaces/wsCust/folders/nobody", `{"name":"x"}`, 404},
		{"PATCH /workspaces/wsTeam/folders/" + id, `{"name":"x"}`, 404},
		{"DELETE /workspaces/wsCust/folders/nobody", ``, 404},
		{"GET /workspaces/nobody/folders", ``, 404},
	} {
		b.do(tc.call, tc.body).want(tc.want)
	}
}

func TestDeleteFolderTakesItsSubtree(t *testing.T) {
	b := start(t)
	deep := b.do("POST /workspaces/wsCust/folders", `{"name":"Deep","parentId":"fldCls"}`).want(201).at("id")
	form := b.makeForm(fmt.Sprintf(`{"status":"PUBLISHED","blocks":[],"workspaceId":"wsCust","folderId":%q}`, deep))
	b.do("GET /forms/"+form).want(200).wantAt("folderId", deep)
	b.do("DELETE /workspaces/wsCust/folders/fldEvt").want(204).wantBody("")
	b.do("GET /workspaces/wsCust/folders").want(200).wantBody("[]")
	b.do("GET /forms/" + form).want(404)
	b.do("GET /forms/Wrkshp").want(404)
	b.do("GET /forms/Contct").want(200)
}
