package sandbox

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

var threeOptions = []option{{ID: "o1", Text: "Red"}, {ID: "o2", Text: "Green"}, {ID: "o3", Text: "Other", other: true}}

func TestRestAnswers(t *testing.T) {
	choice := &question{kind: "CHECKBOXES", options: threeOptions}
	matrix := &question{kind: "MATRIX", rows: []option{{ID: "r1", Text: "Speed"}}, columns: []option{{ID: "c1", Text: "Good"}}}
	hidden := &question{kind: "HIDDEN_FIELDS", named: []namedField{{uuid: "u1", name: "utm"}, {uuid: "u2", name: "ref"}}}
	single := &question{kind: "CALCULATED_FIELDS", named: []namedField{{uuid: "u1", name: "price"}}}
	several := &question{kind: "CALCULATED_FIELDS", named: []namedField{{uuid: "u1", name: "score"}, {uuid: "u2", name: "bean"}}}
	for _, tc := range []struct {
		name            string
		answer          answer
		want, wantByIDs string
	}{
		{"text", answer{&question{kind: "INPUT_TEXT"}, "Hi"}, `"Hi"`, `"Hi"`},
		{"number", answer{&question{kind: "INPUT_NUMBER"}, 4.5}, `4.5`, `4.5`},
		{"nothing", answer{&question{kind: "INPUT_NUMBER"}, nil}, `null`, `null`},
		{"choices", answer{choice, []string{"o2", "o1"}}, `["Green","Red"]`, `["o2","o1"]`},
		{"typed under Other", answer{choice, []string{"o1", "Mauve"}}, `["Red","Mauve"]`, `["o1","Mauve"]`},
		{"no choice", answer{choice, []string{}}, `[]`, `[]`},
		{"matrix", answer{matrix, map[string][]string{"r1": {"c1"}}}, `{"r1":["Good"]}`, `{"r1":["Good"]}`},
		{"hidden", answer{hidden, map[string]any{"u1": "mail", "u2": nil}}, `{"ref":null,"utm":"mail"}`, `{"ref":null,"utm":"mail"}`},
		{"one calculated", answer{single, map[string]any{"u1": 9}}, `9`, `9`},
		{"two calculated", answer{several, map[string]any{"u1": 9, "u2": "x"}}, `{"bean":"x","score":9}`, `{"bean":"x","score":9}`},
		{
			"payment",
			answer{&question{kind: "PAYMENT"}, payment{9, "EUR", "N", "e", "l"}},
			`{"price":9,"currency":"EUR","name":"N","email":"e","link":"l"}`, `{"price":9,"currency":"EUR","name":"N","email":"e","link":"l"}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for byIDs, want := range map[bool]string{false: tc.want, true: tc.wantByIDs} {
				got, err := json.Marshal(tc.answer.rest(byIDs))
				if err != nil || string(got) != want {
					t.Errorf("rest(%v) = %s (%v), want %s", byIDs, got, err, want)
				}
			}
		})
	}
}

func TestFormattedAnswer(t *testing.T) {
	for _, tc := range []struct {
		name, kind, payload string
		value               any
		want                string
	}{
		{"plain", "INPUT_NUMBER", `{}`, 1234.5, ""},
		{"suffix", "INPUT_NUMBER", `{"suffix":" kg"}`, 12, "12 kg"},
		{"prefix", "INPUT_NUMBER", `{"prefix":"€ "}`, 12.5, "€ 12.5"},
		{"dots and a comma", "INPUT_NUMBER", `{"thousandsSeparator":"DOT","decimalSeparator":"COMMA"}`, 1234567.25, "1.234.567,25"},
		{"spaces", "INPUT_NUMBER", `{"thousandsSeparator":"SPACE"}`, 1000, "1 000"},
		{"commas", "INPUT_NUMBER", `{"thousandsSeparator":"COMMA"}`, 999, "999"},
		{"none", "INPUT_NUMBER", `{"thousandsSeparator":"NONE"}`, 1000, "1000"},
		{"no number", "INPUT_NUMBER", `{"suffix":"kg"}`, "x", ""},
		{"another type", "RATING", `{"suffix":"kg"}`, 4, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := &question{kind: tc.kind, payload: parsed(t, tc.payload).(map[string]any)}
			got := ""
			if p := (answer{q, tc.value}).formatted(); p != nil {
				got = *p
			}
			if got != tc.want {
				t.Errorf("formatted(%v) = %q, want %q", tc.value, got, tc.want)
			}
		})
	}
}

func TestSignedURL(t *testing.T) {
	file := newFile("VvPo8N", "a letter.pdf", "application/pdf", 20480, "JobApp")
	u, err := url.Parse(file.URL)
	if err != nil || u.Host != "storage.tally.so" || u.Path != "/private/a letter.pdf" {
		t.Fatalf("URL = %s (%v), want a file on storage.tally.so", file.URL, err)
	}
	if got := len(u.Query().Get("signature")); got != 64 {
		t.Errorf("signature has %d digits, want 64", got)
	}
	if got := strings.Count(u.Query().Get("accessToken"), "."); got != 2 {
		t.Errorf("accessToken has %d dots, want 2", got)
	}
	if other := newFile("VvPo8O", "a letter.pdf", "", 0, "JobApp"); other.URL == file.URL {
		t.Errorf("two files share the URL %s", file.URL)
	}
}

// shapes say how an answer of each type looks in JSON over REST.
var shapes = map[string]string{
	"INPUT_TEXT": `^"`, "TEXTAREA": `^"`, "INPUT_EMAIL": `^"[a-z]+\.[a-z]+@example\.com"$`,
	"INPUT_LINK": `^"https://[a-z]+\.example\.com"$`, "INPUT_PHONE_NUMBER": `^"\+447700900\d{3}"$`,
	"INPUT_NUMBER": `^\d+$`, "INPUT_DATE": `^"\d{4}-\d\d-\d\d"$`, "INPUT_TIME": `^"[01]\d:(00|15|30|45)"$`,
	"LINEAR_SCALE": `^\d+$`, "RATING": `^\d+$`, "MULTIPLE_CHOICE": `^\["`, "DROPDOWN": `^\["[^"]+"\]$`,
	"CHECKBOXES": `^\["`, "MULTI_SELECT": `^\["`, "RANKING": `^\["[^,]+,[^,]+,[^,]+,[^,]+\]$`,
	"MATRIX":      `^\{"[0-9a-f-]{36}":\["`,
	"FILE_UPLOAD": `^\[\{"id":"\w{6}","mimeType":"application/pdf","name":"[a-z-]+\.pdf","size":\d+,"url":"https://storage`,
	"SIGNATURE":   `^\[\{"id":"\w{6}","mimeType":"image/png"`, "PAYMENT": `^\{"currency":"EUR","email":"`,
	"HIDDEN_FIELDS": `^\{"`, "CALCULATED_FIELDS": `^(\d+|\{"bean":"[^"]+","score":\d+\})$`,
	"RESPONDENT_COUNTRY": `^"[A-Z]`, "WALLET_CONNECT": `^"0x[0-9a-f]{40}"$`,
}

func TestSeedAnswersEveryType(t *testing.T) {
	b := start(t)
	seen := map[string]bool{"CAPTCHA": true}
	for _, form := range []string{"Feedbk", "NewsLt", "Contct", "Wrkshp", "QuizMe", "Whsale", "Raffle", "JobApp", "Holidy", "Repair"} {
		a := b.do("GET /forms/" + form + "/submissions?limit=40").want(200)
		kinds := map[any]string{}
		for _, q := range a.at("questions").([]any) {
			kinds[walk(t, q, "id")] = walk(t, q, "type").(string)
		}
		for _, sub := range a.at("submissions").([]any) {
			for _, r := range walk(t, sub, "responses").([]any) {
				kind := kinds[walk(t, r, "questionId")]
				text, err := json.Marshal(walk(t, r, "answer"))
				if err != nil || !regexp.MustCompile(shapes[kind]).Match(text) {
					t.Fatalf("%s: answer to %s = %s (%v), want %s", form, kind, text, err, shapes[kind])
				}
				seen[kind] = true
			}
		}
	}
	for kind := range shapes {
		if !seen[kind] {
			t.Errorf("no seeded answer to %s", kind)
		}
	}
	for _, kind := range append([]string{"MULTIPLE_CHOICE", "CHECKBOXES", "DROPDOWN", "RANKING", "MULTI_SELECT"}, inputKinds...) {
		if !seen[kind] {
			t.Errorf("the seed asks no question of type %s", kind)
		}
	}
}

func TestChoiceIDs(t *testing.T) {
	a := start(t, WithChoiceIDs()).do("GET /forms/Holidy/submissions?limit=1").want(200)
	kind := a.at("questions.3.id")
	for _, r := range a.at("submissions.0.responses").([]any) {
		if id, _ := walk(t, r, "answer.0").(string); walk(t, r, "questionId") == kind && !isUUID(id) {
			t.Errorf("answer = %v, want an option id", walk(t, r, "answer"))
		}
	}
}

func TestNumbersStayInTheirLimits(t *testing.T) {
	maker := newMaker(1, "f", time.Time{})
	for _, tc := range []struct {
		kind, payload string
		low, high     int
	}{
		{"RATING", `{"stars":3}`, 1, 3},
		{"RATING", `{}`, 1, 5},
		{"LINEAR_SCALE", `{}`, 0, 10},
		{"LINEAR_SCALE", `{"start":2,"end":8,"step":3}`, 2, 8},
		{"LINEAR_SCALE", `{"start":8,"end":2}`, 8, 8},
		{"LINEAR_SCALE", `{"step":0}`, 0, 0},
		{"INPUT_NUMBER", `{"minNumber":5,"maxNumber":6}`, 5, 6},
		{"INPUT_NUMBER", `{}`, 1, 20},
	} {
		t.Run(tc.kind+tc.payload, func(t *testing.T) {
			q := &question{kind: tc.kind, payload: parsed(t, tc.payload).(map[string]any)}
			for x := range uint64(200) {
				if got := maker.number(mix(x), q).(int); got < tc.low || got > tc.high {
					t.Fatalf("number() = %d, want %d to %d", got, tc.low, tc.high)
				}
			}
		})
	}
}

func TestMakerSurvivesEmptyQuestions(t *testing.T) {
	maker := newMaker(1, "f", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	for _, kind := range append([]string{"MULTIPLE_CHOICE", "CHECKBOXES", "DROPDOWN", "RANKING", "MULTI_SELECT"}, inputKinds...) {
		t.Run(kind, func(t *testing.T) {
			q := &question{id: "q", kind: kind}
			value := maker.make(0, q)
			if _, err := json.Marshal((answer{q, value}).rest(false)); err != nil && kind != "CALCULATED_FIELDS" {
				t.Errorf("make(%s) = %v: %v", kind, value, err)
			}
		})
	}
}

func TestRespondentsAreVaried(t *testing.T) {
	names := map[string]bool{}
	for seed := range uint64(50) {
		m := newMaker(mix(seed), "f", time.Time{})
		names[m.firstName+m.family] = true
		if want := fmt.Sprintf("%s.%s@example.com", strings.ToLower(m.firstName), strings.ToLower(m.family)); m.mail != want {
			t.Errorf("mail = %s, want %s", m.mail, want)
		}
	}
	if len(names) < 25 {
		t.Errorf("50 respondents share %d names, want at least 25", len(names))
	}
}
