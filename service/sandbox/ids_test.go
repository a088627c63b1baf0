package sandbox

import (
	"encoding/json"
	"regexp"
	"testing"
	"time"
)

func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	for x := range uint64(2000) {
		for id, shape := range map[string]string{
			shortID(mix(x), 6): `^[0-9A-Za-z]{6}$`,
			uuidOf(x):          `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`,
		} {
			if !regexp.MustCompile(shape).MatchString(id) || seen[id] {
				t.Fatalf("id = %q, want a new one like %s", id, shape)
			}
			seen[id] = true
		}
	}
}

func TestIsUUID(t *testing.T) {
	for _, tc := range []struct {
		text string
		want bool
	}{
		{uuidA, true},
		{"ABC12345-6789-DEF0-1234-56789ABCDEF0", true},
		{"", false},
		{uuidA[:35], false},
		{uuidA + "0", false},
		{"6ef8675d_33cb-419b-a81e-93982e726f2e", false},
		{"6ef8675dx33cb-419b-a81e-93982e726f2e", false},
		{"6ef8675d-33cb-419b-a81e-93982e726f2g", false},
		{"{ef8675d-33cb-419b-a81e-93982e726f2}", false},
	} {
		if got := isUUID(tc.text); got != tc.want {
			t.Errorf("isUUID(%q) = %v, want %v", tc.text, got, tc.want)
		}
	}
}

func TestStamp(t *testing.T) {
	for _, tc := range []struct {
		at   time.Time
		want string
	}{
		{time.Date(2026, 8, 1, 8, 0, 0, 0, time.UTC), `"2026-08-01T08:00:00.000Z"`},
		{time.Date(2026, 8, 1, 8, 0, 0, 262999999, time.UTC), `"2026-08-01T08:00:00.262Z"`},
		{time.Date(2026, 8, 1, 8, 0, 0, 0, time.FixedZone("", 7200)), `"2026-08-01T06:00:00.000Z"`},
	} {
		got, err := json.Marshal(stamp(tc.at))
		if err != nil || string(got) != tc.want {
			t.Errorf("Marshal(%v) = %s (%v), want %s", tc.at, got, err, tc.want)
		}
	}
}

func TestParseDate(t *testing.T) {
	for _, tc := range []struct {
		text, want string
		wantErr    bool
	}{
		{"2026-08-10", "2026-08-10T00:00:00Z", false},
		{"2026-08-10T12:30:00Z", "2026-08-10T12:30:00Z", false},
		{"2026-08-10T12:30:00.123Z", "2026-08-10T12:30:00Z", false},
		{"2026-08-10T12:30:00+02:00", "2026-08-10T10:30:00Z", false},
		{"2026-08-10T12:30:00", "2026-08-10T12:30:00Z", false},
		{"2026-08-10T12:30", "2026-08-10T12:30:00Z", false},
		{"10/08/2026", "", true},
		{"", "", true},
	} {
		t.Run(tc.text, func(t *testing.T) {
			got, err := parseDate(tc.text)
			if (err != nil) != tc.wantErr || err == nil && got.UTC().Format(time.RFC3339) != tc.want {
				t.Errorf("parseDate(%q) = %v (%v), want %s", tc.text, got, err, tc.want)
			}
		})
	}
}
