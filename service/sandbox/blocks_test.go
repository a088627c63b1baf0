package sandbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const (
	uuidA = "6ef8675d-33cb-419b-a81e-93982e726f2e"
	uuidB = "073c835f-7ad4-459c-866d-4108b6b7e2e1"
	uuidC = "48b4cdf3-2c9d-47d3-b8fb-b0ccabc5cd84"
	uuidD = "93034250-5f05-4710-b8e0-5c9145c5b9ea"
)

// parsed reads a JSON literal the way requests are read.
func parsed(t *testing.T, source string) any {
	t.Helper()
	v, err := decode(strings.NewReader(source))
	if err != nil {
		t.Fatalf("decode(%q) = %v, want no error", source, err)
	}
	return v
}

// oneBlock is a block list with a single block of the type.
func oneBlock(blockType, payload string) string {
	return fmt.Sprintf(`[{"uuid":%q,"type":%q,"groupUuid":%q,"groupType":%q,"payload":%s}]`, uuidA, blockType, uuidB, blockType, payload)
}

func TestBlockShape(t *testing.T) {
	good := fmt.Sprintf(`"uuid":%q,"groupUuid":%q`, uuidA, uuidB)
	for _, tc := range []struct{ name, blocks, wantMessage, wantType string }{
		{"none", `[]`, "", ""},
		{"a good one", `[{` + good + `,"type":"DIVIDER","groupType":"DIVIDER","payload":{}}]`, "", ""},
		{"the schema's group type", `[{` + good + `,"type":"INPUT_TEXT","groupType":"QUESTION","payload":{}}]`, "", ""},
		{"no list", `{}`, `"blocks" must be an array`, "array.base"},
		{"no object", `[7]`, `"blocks[0]" must be of type object`, "object.base"},
		{"no uuid", `[{"type":"DIVIDER"}]`, `"blocks[0].uuid" is required`, "any.required"},
		{"uuid is a number", `[{"uuid":7}]`, `"blocks[0].uuid" must be a string`, "string.base"},
		{"uuid is empty", `[{"uuid":""}]`, `"blocks[0].uuid" is not allowed to be empty`, "string.empty"},
		{"uuid is none", `[{"uuid":"block-1"}]`, `"blocks[0].uuid" must be a valid GUID`, "string.guid"},
		{"no type", `[{` + good + `}]`, `"blocks[0].type" is required`, "any.required"},
		{"no group", `[{"uuid":"` + uuidA + `","type":"DIVIDER"}]`, `"blocks[0].groupUuid" is required`, "any.required"},
		{"no group type", `[{` + good + `,"type":"DIVIDER"}]`, `"blocks[0].groupType" is required`, "any.required"},
		{"no payload", `[{` + good + `,"type":"DIVIDER","groupType":"DIVIDER"}]`, `"blocks[0].payload" is required`, "any.required"},
		{"payload is null", `[{` + good + `,"type":"DIVIDER","groupType":"DIVIDER","payload":null}]`, `"blocks[0].payload" must be of type object`, "object.base"},
		{"unknown key", `[{` + good + `,"type":"DIVIDER","groupType":"DIVIDER","payload":{},"label":""}]`, `"blocks[0].label" is not allowed`, "object.unknown"},
		{
			"second of two", `[{` + good + `,"type":"DIVIDER","groupType":"DIVIDER","payload":{}},{"uuid":"x"}]`,
			`"blocks[1].uuid" must be a valid GUID`, "string.guid",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantViolation(t, checkBlocks("blocks", parsed(t, tc.blocks)), tc.wantMessage, tc.wantType)
		})
	}
}

func wantViolation(t *testing.T, got *violation, wantMessage, wantType string) {
	t.Helper()
	if got == nil {
		if wantMessage != "" {
			t.Errorf("checkBlocks() = nil, want %s", wantMessage)
		}
		return
	}
	if got.message() != wantMessage || got.code != wantType || got.field() != "blocks" {
		t.Errorf("checkBlocks() = %s (%s, field %s), want %s (%s)", got.message(), got.code, got.field(), wantMessage, wantType)
	}
}

// recordedTypes is the list as a live 400 named it, in its order.
const recordedTypes = "FORM_TITLE, TEXT, LABEL, TITLE, HEADING_1, HEADING_2, HEADING_3, DIVIDER, PAGE_BREAK, " +
	"THANK_YOU_PAGE, IMAGE, EMBED, EMBED_VIDEO, EMBED_AUDIO, QUESTION, MULTIPLE_CHOICE, CHECKBOXES, DROPDOWN, RANKING, " +
	"MATRIX, MULTI_SELECT, INPUT_TEXT, INPUT_NUMBER, INPUT_EMAIL, INPUT_LINK, INPUT_PHONE_NUMBER, INPUT_DATE, " +
	"INPUT_TIME, TEXTAREA, FILE_UPLOAD, LINEAR_SCALE, RATING, HIDDEN_FIELDS, MULTIPLE_CHOICE_OPTION, CHECKBOX, " +
	"DROPDOWN_OPTION, RANKING_OPTION, MULTI_SELECT_OPTION, PAYMENT, SIGNATURE, MATRIX_ROW, MATRIX_COLUMN, " +
	"WALLET_CONNECT, CONDITIONAL_LOGIC, CALCULATED_FIELDS, CAPTCHA, RESPONDENT_COUNTRY"

func TestBlockTypes(t *testing.T) {
	if len(blockTypes) != 47 {
		t.Errorf("len(blockTypes) = %d, want 47", len(blockTypes))
	}
	b := start(t)
	blocks := `{"status":"DRAFT","blocks":` + oneBlock("INPUT_URL", "{}") + `}`
	a := b.do("POST /forms", blocks).want(400)
	a.wantAt("message", `"blocks[0].type" must be one of [`+recordedTypes+`]`)
	a.wantAt("errors.0.field", "blocks").wantAt("errors.0.type", "any.only")
	wrongGroup := strings.Replace(oneBlock("DIVIDER", "{}"), `"groupType":"DIVIDER"`, `"groupType":"PARAGRAPH"`, 1)
	a = b.do("POST /forms", `{"status":"DRAFT","blocks":`+wrongGroup+`}`).want(400)
	a.wantAt("message", `"blocks[0].groupType" must be one of [`+recordedTypes+`]`)
}

// required are the payloads of types that do not accept an empty one.
var required = map[string]string{
	"CHECKBOX":          `{"index":0,"isFirst":true,"isLast":true}`,
	"HIDDEN_FIELDS":     `{"hiddenFields":[]}`,
	"CALCULATED_FIELDS": `{"calculatedFields":[]}`,
	"CONDITIONAL_LOGIC": `{"logicalOperator":"AND","conditionals":[],"actions":[]}`,
}

func TestEveryTypeIsAccepted(t *testing.T) {
	for _, blockType := range blockTypes {
		payload := required[blockType]
		if payload == "" {
			payload = "{}"
		}
		if bad := checkBlocks("blocks", parsed(t, oneBlock(blockType, payload))); bad != nil {
			t.Errorf("checkBlocks(%s %s) = %s, want nil", blockType, payload, bad.message())
		}
	}
}

func TestPayloads(t *testing.T) {
	for _, tc := range []struct{ blockType, payload, wantKey, wantText, wantType string }{
		{"INPUT_TEXT", `{"isRequired":true,"placeholder":"","hasMaxCharacters":true,"maxCharacters":80}`, "", "", ""},
		{"INPUT_TEXT", `{"somethingNew":1}`, "", "", ""},
		{"INPUT_TEXT", `{"isRequired":"yes"}`, "isRequired", "must be a boolean", "boolean.base"},
		{"INPUT_TEXT", `{"placeholder":7}`, "placeholder", "must be a string", "string.base"},
		{"INPUT_TEXT", `{"maxCharacters":"80"}`, "maxCharacters", "must be a number", "number.base"},
		{"TEXTAREA", `{"hasMinCharacters":true,"minCharacters":2}`, "", "", ""},
		{"TEXTAREA", `{"minCharacters":-1}`, "minCharacters", "must be greater than or equal to 0", "number.min"},
		{"INPUT_EMAIL", `{"maxCharacters":80}`, "maxCharacters", "is not allowed", "object.unknown"},
		{"INPUT_EMAIL", `{"hasMinCharacters":false}`, "hasMinCharacters", "is not allowed", "object.unknown"},
		{"INPUT_NUMBER", `{"hasMaxCharacters":true}`, "hasMaxCharacters", "is not allowed", "object.unknown"},
		{"INPUT_LINK", `{"minCharacters":1}`, "minCharacters", "is not allowed", "object.unknown"},
		{"RATING", `{"minCharacters":1}`, "minCharacters", "is not allowed", "object.unknown"},
		{"INPUT_NUMBER", `{"minNumber":-4.5,"maxNumber":1e3,"decimalSeparator":"COMMA","thousandsSeparator":"SPACE"}`, "", "", ""},
		{"INPUT_NUMBER", `{"thousandsSeparator":"TICK"}`, "thousandsSeparator", "must be one of [COMMA, DOT, SPACE, NONE]", "any.only"},
		{"INPUT_NUMBER", `{"decimalSeparator":"SPACE"}`, "decimalSeparator", "must be one of [COMMA, DOT]", "any.only"},
		{"INPUT_DATE", `{"startWeekOn":0,"disableDays":["MONDAYS","IN_THE_PAST"],"format":"yyyy-MM-dd"}`, "", "", ""},
		{"INPUT_DATE", `{"startWeekOn":7}`, "startWeekOn", "must be less than or equal to 6", "number.max"},
		{"INPUT_DATE", `{"disableDays":["MONDAY"]}`, "disableDays[0]", "must be one of [IN_THE_PAST, IN_THE_FUTURE, MONDAYS, TUESDAYS, WEDNESDAYS, THURSDAYS, FRIDAYS, SATURDAYS, SUNDAYS]", "any.only"},
		{"LINEAR_SCALE", `{"start":1,"end":5,"step":1,"hasLeftLabel":true,"leftLabel":"Bad"}`, "", "", ""},
		{"LINEAR_SCALE", `{"hasLeftLabel":true}`, "leftLabel", "is required", "any.required"},
		{"LINEAR_SCALE", `{"hasCenterLabel":true,"leftLabel":"x"}`, "centerLabel", "is required", "any.required"},
		{"LINEAR_SCALE", `{"hasRightLabel":true,"rightLabel":null}`, "rightLabel", "is required", "any.required"},
		{"LINEAR_SCALE", `{"hasRightLabel":false}`, "", "", ""},
		{"LINEAR_SCALE", `{"end":101}`, "end", "must be less than or equal to 100", "number.max"},
		{"LINEAR_SCALE", `{"step":0}`, "step", "must be greater than or equal to 1", "number.min"},
		{"LINEAR_SCALE", `{"start":0.5}`, "start", "must be an integer", "number.integer"},
		{"RATING", `{"stars":1}`, "", "", ""},
		{"RATING", `{"stars":10}`, "", "", ""},
		{"RATING", `{"stars":0}`, "stars", "must be greater than or equal to 1", "number.min"},
		{"RATING", `{"stars":11}`, "stars", "must be less than or equal to 10", "number.max"},
		{"RATING", `{"stars":null}`, "stars", "must be a number", "number.base"},
		{"DROPDOWN_OPTION", `{"index":0,"text":"Red"}`, "", "", ""},
		{"DROPDOWN_OPTION", `{"allowMultiple":false}`, "", "", ""},
		{"DROPDOWN_OPTION", `{"allowMultiple":true}`, "allowMultiple", "is not allowed", "object.unknown"},
		{"DROPDOWN_OPTION", `{"colorCodeOptions":false}`, "colorCodeOptions", "is not allowed", "object.unknown"},
		{"DROPDOWN_OPTION", `{"hasBadge":true}`, "hasBadge", "is not allowed", "object.unknown"},
		{"DROPDOWN_OPTION", `{"badgeType":"LETTERS"}`, "badgeType", "is not allowed", "object.unknown"},
		{"MULTIPLE_CHOICE_OPTION", `{"hasBadge":true,"badgeType":"LETTERS","text":"A"}`, "", "", ""},
		{"MULTIPLE_CHOICE_OPTION", `{"badgeType":"ROMAN"}`, "badgeType", "must be one of [OFF, NUMBERS, LETTERS]", "any.only"},
		{"CHECKBOX", `{}`, "index", "is required", "any.required"},
		{"CHECKBOX", `{"index":0}`, "isFirst", "is required", "any.required"},
		{"CHECKBOX", `{"index":0,"isFirst":true}`, "isLast", "is required", "any.required"},
		{"RANKING_OPTION", `{"index":-1}`, "index", "must be greater than or equal to 0", "number.min"},
		{"MULTI_SELECT_OPTION", `{"text":null,"color":"red"}`, "", "", ""},
		{"MATRIX", `{"isRequired":true}`, "", "", ""},
		{"MATRIX_ROW", `{"html":"Speed","index":0}`, "", "", ""},
		{"FILE_UPLOAD", `{"maxFileSizeUnit":"TB"}`, "maxFileSizeUnit", "must be one of [KB, MB, GB]", "any.only"},
		{"FILE_UPLOAD", `{"allowedFiles":{"image/*":["*"]},"maxFiles":3}`, "", "", ""},
		{"HIDDEN_FIELDS", `{}`, "hiddenFields", "is required", "any.required"},
		{"HIDDEN_FIELDS", `{"hiddenFields":[{"uuid":"x","name":"a"}]}`, "hiddenFields[0].uuid", "must be a valid GUID", "string.guid"},
		{"CALCULATED_FIELDS", `{"fields":[]}`, "calculatedFields", "is required", "any.required"},
		{"CALCULATED_FIELDS", `{"calculatedFields":[{"uuid":"` + uuidC + `","name":"n","type":"DATE"}]}`, "calculatedFields[0].type", "must be one of [NUMBER, TEXT]", "any.only"},
		{"CALCULATED_FIELDS", `{"calculatedFields":[{"uuid":"` + uuidC + `","name":"n","type":"NUMBER","value":6}]}`, "", "", ""},
		{"PAYMENT", `{"amount":9,"currency":"EUR"}`, "", "", ""},
		{"PAYMENT", `{"amount":-9}`, "amount", "must be greater than or equal to 0", "number.min"},
		{"IMAGE", `{"images":[{"name":"a","url":"https://example.com/a.png"}],"hasCaption":true,"caption":"A"}`, "", "", ""},
		{"IMAGE", `{"images":[{"name":"a"}]}`, "images[0].url", "is required", "any.required"},
		{"EMBED", `{"type":"banner"}`, "type", "must be one of [rich, video, photo, link, pdf, gist]", "any.only"},
		{"PAGE_BREAK", `{"index":0,"isFirst":true,"isLast":false,"button":{"label":"On"}}`, "", "", ""},
		{"PAGE_BREAK", `{"button":{"label":7}}`, "button.label", "must be a string", "string.base"},
		{"FORM_TITLE", `{"html":"Hello","title":"Hello","mentions":[]}`, "", "", ""},
		{"FORM_TITLE", `{"coverSettings":{"objectPositionYPercent":120}}`, "coverSettings.objectPositionYPercent", "must be less than or equal to 100", "number.max"},
		{"TEXT", `{"safeHTMLSchema":[["a"],["b",[["tag","span"]]]]}`, "", "", ""},
		{"TEXT", `{"safeHTMLSchema":"a"}`, "safeHTMLSchema", "must be an array", "array.base"},
		{"TEXT", `{"safeHTMLSchema":[[]]}`, "safeHTMLSchema[0]", "must contain at least 1 items", "array.min"},
		{"TEXT", `{"html":7}`, "html", "must be a string", "string.base"},
		{"TEXT", `{"mentions":[{"uuid":"` + uuidC + `"}]}`, "mentions[0].field", "is required", "any.required"},
		{"TEXT", `{"mentions":[{"uuid":"` + uuidC + `","field":{"uuid":"respondentId","type":"METADATA"}}]}`, "", "", ""},
		{"TEXT", `{"columnRatio":101}`, "columnRatio", "must be less than or equal to 100", "number.max"},
	} {
		t.Run(tc.blockType+" "+tc.payload, func(t *testing.T) {
			want := ""
			if tc.wantKey != "" {
				want = `"blocks[0].payload.` + tc.wantKey + `" ` + tc.wantText
			}
			wantViolation(t, checkBlocks("blocks", parsed(t, oneBlock(tc.blockType, tc.payload))), want, tc.wantType)
		})
	}
}

func TestTitleSharesGroup(t *testing.T) {
	pair := func(title, input, group string) string {
		return fmt.Sprintf(`[{"uuid":%q,"type":%q,"groupUuid":%q,"groupType":"QUESTION","payload":{"html":"Name"}},
			{"uuid":%q,"type":%q,"groupUuid":%q,"groupType":"QUESTION","payload":{}}]`, uuidA, title, uuidB, uuidC, input, group)
	}
	for _, tc := range []struct{ name, blocks, wantMessage string }{
		{"own groups", pair("TITLE", "INPUT_TEXT", uuidD), ""},
		{"title in the input's", pair("TITLE", "INPUT_TEXT", uuidB), "TITLE block must not share groupUuid with an input block"},
		{"label in the input's", pair("LABEL", "TEXTAREA", uuidB), "LABEL block must not share groupUuid with an input block"},
		{"title in the options'", pair("TITLE", "DROPDOWN_OPTION", uuidB), "TITLE block must not share groupUuid with an input block"},
		{"title with a text", pair("TITLE", "TEXT", uuidB), ""},
		{"heading in the input's", pair("HEADING_1", "INPUT_TEXT", uuidB), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantViolation(t, checkBlocks("blocks", parsed(t, tc.blocks)), tc.wantMessage, "any.custom")
		})
	}
}

func TestConditions(t *testing.T) {
	logic := func(questionType, comparison string) string {
		return oneBlock("CONDITIONAL_LOGIC", fmt.Sprintf(`{"logicalOperator":"AND","updateUuid":null,"actions":[],"conditionals":[
			{"uuid":%q,"type":"GROUP","payload":{"logicalOperator":"OR","conditionals":[{"uuid":%q,"type":"SINGLE","payload":
			{"field":{"uuid":%q,"questionType":%q},"comparison":%q,"value":"x"}}]}}]}`, uuidC, uuidC, uuidD, questionType, comparison))
	}
	for _, comparison := range []string{"IS", "IS_NOT", "IS_ANY_OF", "IS_NOT_ANY_OF"} {
		bad := checkBlocks("blocks", parsed(t, logic("CHECKBOXES", comparison)))
		wantViolation(t, bad, "value type is not allowed for this comparison", "any.custom")
		if bad == nil {
			t.Errorf("CHECKBOXES %s = nil, want a violation", comparison)
		}
		wantViolation(t, checkBlocks("blocks", parsed(t, logic("MULTIPLE_CHOICE", comparison))), "", "")
	}
	wantViolation(t, checkBlocks("blocks", parsed(t, logic("CHECKBOXES", "CONTAINS"))), "", "")
}

func TestLogicPayload(t *testing.T) {
	for _, tc := range []struct{ name, payload, wantMessage, wantType string }{
		{"no operator", `{}`, `"blocks[0].payload.logicalOperator" is required`, "any.required"},
		{"no conditions", `{"logicalOperator":"OR"}`, `"blocks[0].payload.conditionals" is required`, "any.required"},
		{"no actions", `{"logicalOperator":"OR","conditionals":[]}`, `"blocks[0].payload.actions" is required`, "any.required"},
		{
			"an older action", `{"logicalOperator":"OR","conditionals":[],"actions":[{"uuid":"a","type":"SKIP_TO"}]}`,
			`"blocks[0].payload.actions[0].type" must be one of [JUMP_TO_PAGE, CALCULATE, REQUIRE_ANSWER, SHOW_BLOCKS, HIDE_BLOCKS, HIDE_BUTTON_TO_DISABLE_COMPLETION]`,
			"any.only",
		},
		{
			"a condition of no kind", `{"logicalOperator":"OR","conditionals":[{"uuid":"a","type":"DOUBLE","payload":{}}],"actions":[]}`,
			`"blocks[0].payload.conditionals[0].type" must be one of [SINGLE, GROUP]`, "any.only",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantViolation(t, checkBlocks("blocks", parsed(t, oneBlock("CONDITIONAL_LOGIC", tc.payload))), tc.wantMessage, tc.wantType)
		})
	}
}

// What reading shows must be writable again.
func TestSeedPassesItsOwnValidator(t *testing.T) {
	b := start(t)
	for _, f := range b.s.state.forms {
		text, err := json.Marshal(f.blocks)
		if err != nil {
			t.Fatalf("Marshal() = %v, want no error", err)
		}
		if bad := checkBlocks("blocks", parsed(t, string(text))); bad != nil {
			t.Errorf("checkBlocks(blocks of %s) = %s, want nil", f.id, bad.message())
		}
	}
}

// FuzzBlocks feeds the validator and what follows it; neither may panic.
func FuzzBlocks(f *testing.F) {
	for _, blockType := range blockTypes {
		f.Add([]byte(oneBlock(blockType, `{"html":"<b>x</b>","index":0,"stars":1,"conditionals":[{}]}`)))
	}
	f.Add([]byte(`[{"payload":null}]`))
	f.Fuzz(func(t *testing.T, source []byte) {
		v, err := decode(strings.NewReader(string(source)))
		if err != nil {
			return
		}
		if bad := checkBlocks("blocks", v); bad != nil {
			if !strings.HasPrefix(bad.field(), "blocks") || bad.message() == "" || bad.code == "" {
				t.Errorf("checkBlocks(%q) = %+v, want field, message and type", source, bad)
			}
			return
		}
		blocks := readBlocks(v.([]any))
		questions := deriveQuestions(blocks)
		if slices.Contains(questions, nil) {
			t.Errorf("deriveQuestions(%q) holds nil", source)
		}
		plan := &answerPlan{questions: questions}
		sub := &submission{completed: true, seed: 7, plan: plan}
		delivery(&form{}, sub, uuidA, sub.at)
	})
}
