package sandbox

import "math"

func flags(names ...string) []key {
	keys := make([]key, len(names))
	for i, name := range names {
		keys[i] = maybe(name, nullable(boolean))
	}
	return keys
}

func texts(names ...string) []key {
	keys := make([]key, len(names))
	for i, name := range names {
		keys[i] = maybe(name, nullable(text))
	}
	return keys
}

func whole(names ...string) []key {
	keys := make([]key, len(names))
	for i, name := range names {
		keys[i] = maybe(name, nullable(integer(0, math.MaxInt32)))
	}
	return keys
}

func keys(groups ...[]key) []key {
	var all []key
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

var sharedPayload = keys(
	flags("isHidden", "isFolded", "isRequired", "hasDefaultAnswer"),
	texts("name", "columnListUuid", "columnUuid", "placeholder", "html"),
	[]key{
		maybe("columnRatio", nullable(number(0, 100))),
		maybe("safeHTMLSchema", nullable(listOf(filled(listOf(anything))))),
		maybe("mentions", nullable(listOf(mentionRule))),
	},
)

var mentionRule = open(need("uuid", word), need("field", open(
	need("uuid", word),
	need("type", oneOf("INPUT_FIELD", "CALCULATED_FIELD", "HIDDEN_FIELD", "UTILITY", "PLACEHOLDER", "METADATA")),
)))

// optionPayload is what the option blocks share.
var optionPayload = keys(
	flags("isFirst", "isLast", "randomize", "hasOtherOption", "isOtherOption", "allowMultiple", "hasMinChoices", "hasMaxChoices", "colorCodeOptions", "hasBadge"),
	whole("index", "minChoices", "maxChoices"),
	texts("text", "image", "color"),
	[]key{maybe("badgeType", oneOf("OFF", "NUMBERS", "LETTERS"))},
)

var characterLimits = keys(flags("hasMinCharacters", "hasMaxCharacters"), whole("minCharacters", "maxCharacters"))

// payloadKeys are the payloads by block type, as far as the reference tells.
// DROPDOWN_OPTION: allowMultiple was seen accepted as false, and refused; so
// false passes. [behaviour dropdown-options]
var payloadKeys = map[string][]key{
	"FORM_TITLE": keys(texts("title", "logo", "cover"), []key{
		maybe("coverSettings", nullable(open(maybe("objectPositionYPercent", number(0, 100))))),
		maybe("button", nullable(open(maybe("label", text)))),
	}),
	"PAGE_BREAK": keys(whole("index"), flags("isFirst", "isLast", "isThankYouPage", "isQualifiedForThankYouPage"), []key{
		maybe("button", nullable(open(maybe("label", text)))),
	}),
	"IMAGE": keys(flags("hasCaption"), texts("caption", "link", "altText"), []key{
		maybe("images", listOf(open(need("url", word), maybe("name", text)))),
	}),
	"EMBED": {maybe("type", oneOf("rich", "video", "photo", "link", "pdf", "gist"))},

	"INPUT_TEXT": characterLimits,
	"TEXTAREA":   characterLimits,
	"INPUT_NUMBER": keys(flags("hasMinNumber", "hasMaxNumber"), texts("prefix", "suffix", "format"), []key{
		maybe("minNumber", nullable(number(-math.MaxFloat64, math.MaxFloat64))),
		maybe("maxNumber", nullable(number(-math.MaxFloat64, math.MaxFloat64))),
		maybe("decimalSeparator", nullable(oneOf("COMMA", "DOT"))),
		maybe("thousandsSeparator", nullable(oneOf("COMMA", "DOT", "SPACE", "NONE"))),
	}),
	"INPUT_PHONE_NUMBER": keys(flags("internationalFormat"), texts("defaultCountryCode")),
	"INPUT_DATE": keys(texts("format"), []key{
		maybe("startWeekOn", nullable(integer(0, 6))),
		maybe("specificDates", nullable(listOf(text))),
		maybe("disableDays", nullable(listOf(oneOf("IN_THE_PAST", "IN_THE_FUTURE", "MONDAYS", "TUESDAYS",
			"WEDNESDAYS", "THURSDAYS", "FRIDAYS", "SATURDAYS", "SUNDAYS")))),
	}),
	"MULTIPLE_CHOICE_OPTION": optionPayload,
	"CHECKBOX":               append([]key{need("index", integer(0, math.MaxInt32)), need("isFirst", boolean), need("isLast", boolean)}, optionPayload...),
	"MULTI_SELECT_OPTION":    optionPayload,
	"RANKING_OPTION":         optionPayload,
	"DROPDOWN_OPTION": append([]key{
		maybe("allowMultiple", oneValue(false)), maybe("colorCodeOptions", forbiddenKey),
		maybe("hasBadge", forbiddenKey), maybe("badgeType", forbiddenKey),
	}, optionPayload...),
	"LINEAR_SCALE": keys(flags("hasLeftLabel", "hasCenterLabel", "hasRightLabel"), texts("leftLabel", "centerLabel", "rightLabel"), []key{
		maybe("start", integer(0, 100)), maybe("end", integer(0, 100)), maybe("step", integer(1, 100)),
	}),
	"RATING":        {maybe("stars", integer(1, 10))},
	"MATRIX":        keys(whole("index"), flags("isFirst", "isLast")),
	"MATRIX_ROW":    keys(whole("index"), flags("isFirst", "isLast")),
	"MATRIX_COLUMN": keys(whole("index"), flags("isFirst", "isLast")),
	"FILE_UPLOAD": keys(flags("hasMultipleFiles", "hasMinFiles", "hasMaxFiles", "hasMaxFileSize"), whole("minFiles", "maxFiles", "maxFileSize"), []key{
		maybe("maxFileSizeUnit", nullable(oneOf("KB", "MB", "GB"))),
		maybe("allowedFiles", nullable(open())),
	}),
	"PAYMENT":       {maybe("amount", nullable(number(0, math.MaxInt32))), maybe("currency", nullable(word))},
	"HIDDEN_FIELDS": {need("hiddenFields", listOf(open(need("uuid", guid), need("name", text))))},
	"CALCULATED_FIELDS": {need("calculatedFields", listOf(open(
		need("uuid", guid), need("name", text), need("type", oneOf("NUMBER", "TEXT")),
	)))},
	"CONDITIONAL_LOGIC": {
		need("logicalOperator", oneOf("AND", "OR")),
		need("conditionals", listOf(open(need("uuid", word), need("type", oneOf("SINGLE", "GROUP")), need("payload", open())))),
		need("actions", listOf(open(need("uuid", word), need("type", oneOf("JUMP_TO_PAGE", "CALCULATE", "REQUIRE_ANSWER",
			"SHOW_BLOCKS", "HIDE_BLOCKS", "HIDE_BUTTON_TO_DISABLE_COMPLETION"))))),
		maybe("updateUuid", nullable(text)),
	},
}

func oneValue(wanted any) rule {
	return func(path string, v any) *violation {
		if v == wanted {
			return nil
		}
		return forbiddenKey(path, v)
	}
}
