package service_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/apikey"
)

func TestCheckKey(t *testing.T) {
	tests := []struct {
		name       string
		status     int
		body       string
		want       apikey.Identity
		wantErr    bool
		wantReject bool
	}{
		{
			name: "alive", status: 200, body: `{"id":"u1","organizationId":"o1","subscriptionPlan":"PRO"}`,
			want: apikey.Identity{UserID: "u1", OrganizationID: "o1", Plan: "SUBSCRIPTION_PLAN_PRO"},
		},
		{name: "dead", status: 401, body: "Unauthorized", wantErr: true, wantReject: true},
		{name: "down", status: 502, body: "<html>", wantErr: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var requests int
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				if r.URL.RequestURI() != "/users/me" || r.Header.Get("Authorization") != "Bearer tly-other" {
					t.Errorf("%s with %q, want /users/me with the key that is checked", r.URL, r.Header.Get("Authorization"))
				}
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			}))
			defer server.Close()
			key, err := apikey.ParseKey("tly-other")
			if err != nil {
				t.Fatal(err)
			}
			got, err := service.CheckKey(t.Context(), newClient(t, server.URL), key)
			if (err != nil) != test.wantErr || errors.Is(err, apikey.ErrRejected) != test.wantReject {
				t.Errorf("CheckKey() = %v, want an error: %v, rejected: %v", err, test.wantErr, test.wantReject)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("CheckKey() differs (-want +got):\n%s", diff)
			}
			if requests != 1 {
				t.Errorf("Tally saw %d requests, want exactly 1", requests)
			}
		})
	}
}
