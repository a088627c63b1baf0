package sandbox

import (
	"fmt"
	"slices"
)

// blockTypes are the 47 the validator accepts, in the order its message lists
// them. [behaviour block-types]
var blockTypes = []string{
	"FORM_TITLE", "TEXT", "LABEL", "TITLE", "HEADING_1", "HEADING_2", "HEADING_3", "DIVIDER", "PAGE_BREAK",
	"THANK_YOU_PAGE", "IMAGE", "EMBED", "EMBED_VIDEO", "EMBED_AUDIO", "QUESTION", "MULTIPLE_CHOICE", "CHECKBOXES",
	"DROPDOWN", "RANKING", "MATRIX", "MULTI_SELECT", "INPUT_TEXT", "INPUT_NUMBER", "INPUT_EMAIL", "INPUT_LINK",
	"INPUT_PHONE_NUMBER", "INPUT_DATE", "INPUT_TIME", "TEXTAREA", "FILE_UPLOAD", "LINEAR_SCALE", "RATING",
	"HIDDEN_FIELDS", "MULTIPLE_CHOICE_OPTION", "CHECKBOX", "DROPDOWN_OPTION", "RANKING_OPTION",
	"MULTI_SELECT_OPTION", "PAYMENT", "SIGNATURE", "MATRIX_ROW", "MATRIX_COLUMN", "WALLET_CONNECT",
	"CONDITIONAL_LOGIC", "CALCULATED_FIELDS", "CAPTCHA", "RESPONDENT_COUNTRY",
}

var blockRule = object(
	need("uuid", guid),
	need("type", oneOf(blockTypes...)),
	need("groupUuid", guid),
	need("groupType", oneOf(blockTypes...)),
	need("payload", open()),
)

// checkBlocks is the validator of a whole block list: each block, its
// payload, then what must hold between blocks. [behaviour block-payloads]
func checkBlocks(path string, v any) *violation {
	list, ok := v.([]any)
	if !ok {
		return complain(path, "must be an array", "array.base")
	}
	for i, item := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if bad := blockRule(at, item); bad != nil {
			return bad
		}
		m := item.(map[string]any)
		if bad := checkPayload(at+".payload", m["type"].(string), m["payload"]); bad != nil {
			return bad
		}
	}
	return checkTitles(path, list)
}

// checkTitles refuses a title in the group of its input. An older guide of
// Tally's shows just that; newer reports say it is refused.
// [behaviour title-shares-group]
func checkTitles(path string, list []any) *violation {
	inputs := map[any]bool{}
	for _, item := range list {
		m := item.(map[string]any)
		inputs[m["groupUuid"]] = inputs[m["groupUuid"]] || questionKind(m["type"].(string)) != ""
	}
	for _, item := range list {
		m := item.(map[string]any)
		if (m["type"] == "TITLE" || m["type"] == "LABEL") && inputs[m["groupUuid"]] {
			return &violation{bare: path, text: m["type"].(string) + " block must not share groupUuid with an input block", code: "any.custom"}
		}
	}
	return nil
}

var (
	formStatus     = oneOf("BLANK", "DRAFT", "PUBLISHED")
	settingsRule   = nullable(object(settingsKeys()...))
	createFormBody = object(
		need("status", formStatus), need("blocks", checkBlocks),
		maybe("workspaceId", nullable(word)), maybe("folderId", nullable(word)), maybe("templateId", nullable(word)),
		maybe("settings", settingsRule), maybe("name", nullable(text)), maybe("password", nullable(text)),
	)
	updateFormBody = object(
		maybe("name", nullable(text)), maybe("status", formStatus),
		maybe("blocks", checkBlocks), maybe("settings", settingsRule),
	)
	updateBlocksBody = object(need("blocks", checkBlocks), maybe("settings", settingsRule))
)

// checkPayload checks the keys the reference knows and tolerates others.
func checkPayload(path, blockType string, payload any) *violation {
	if bad := open(sharedPayload...)(path, payload); bad != nil {
		return bad
	}
	m := payload.(map[string]any)
	if bad := checkCharacterLimits(path, blockType, m); bad != nil {
		return bad
	}
	if keys := payloadKeys[blockType]; keys != nil {
		if bad := open(keys...)(path, payload); bad != nil {
			return bad
		}
	}
	switch blockType {
	case "LINEAR_SCALE":
		return checkScaleLabels(path, m)
	case "CONDITIONAL_LOGIC":
		return checkConditions(m)
	}
	return nil
}

// checkCharacterLimits: only the two text inputs may have them.
// [behaviour character-limits]
func checkCharacterLimits(path, blockType string, m map[string]any) *violation {
	if blockType == "INPUT_TEXT" || blockType == "TEXTAREA" || !slices.Contains(inputKinds, blockType) {
		return nil
	}
	for _, name := range []string{"hasMinCharacters", "minCharacters", "hasMaxCharacters", "maxCharacters"} {
		if v, given := m[name]; given {
			return forbiddenKey(join(path, name), v)
		}
	}
	return nil
}

// checkScaleLabels wants a label where its flag is set. [behaviour scale-labels]
func checkScaleLabels(path string, m map[string]any) *violation {
	for _, side := range []string{"left", "center", "right"} {
		flag := map[string]string{"left": "hasLeftLabel", "center": "hasCenterLabel", "right": "hasRightLabel"}[side]
		label := side + "Label"
		if m[flag] != true {
			continue
		}
		if m[label] == nil {
			return complain(join(path, label), "is required", "any.required")
		}
	}
	return nil
}

// checkConditions refuses the four comparisons recorded as not allowed for
// checkboxes. [behaviour checkbox-comparisons]
func checkConditions(m map[string]any) *violation {
	conditionals, _ := m["conditionals"].([]any)
	for _, item := range conditionals {
		c, _ := item.(map[string]any)
		p, _ := c["payload"].(map[string]any)
		if bad := checkConditions(p); bad != nil {
			return bad
		}
		field, _ := p["field"].(map[string]any)
		comparison, _ := p["comparison"].(string)
		if field["questionType"] == "CHECKBOXES" && slices.Contains([]string{"IS", "IS_NOT", "IS_ANY_OF", "IS_NOT_ANY_OF"}, comparison) {
			return &violation{bare: "blocks", text: "value type is not allowed for this comparison", code: "any.custom"}
		}
	}
	return nil
}
