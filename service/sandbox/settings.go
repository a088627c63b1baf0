package sandbox

import (
	"maps"
	"math"
)

// Settings by the kind of value they take. The last group was seen in answers
// but is missing from Tally's schema. [behaviour settings-keys]
var (
	switches = []string{
		"isClosed", "hasSelfEmailNotifications", "hasRespondentEmailNotifications", "hasProgressBar",
		"hasPartialSubmissions", "pageAutoJump", "saveForLater", "hasVerifyEmailNotifications",
	}
	counts     = []string{"submissionsLimit", "submissionsDataRetentionDuration"}
	plainTexts = []string{
		"language", "closeMessageTitle", "closeMessageDescription", "closeTimezone", "closeDate", "closeTime",
		"password", "submissionsDataRetentionUnit", "selfEmailSendingDomainId", "respondentEmailSendingDomainId",
		"verifyEmailFromName", "verifyEmailSendingDomainId", "metaSiteName", "metaSiteFaviconUrl", "metaTitle",
		"metaDescription", "metaImageUrl",
	}
	richTexts = []string{
		"uniqueSubmissionKey", "redirectOnCompletion", "selfEmailTo", "selfEmailReplyTo", "selfEmailSubject",
		"selfEmailFromName", "selfEmailBody", "respondentEmailTo", "respondentEmailReplyTo", "respondentEmailSubject",
		"respondentEmailFromName", "respondentEmailBody", "styles",
	}
)

// settingsKeys accepts a string or an object where the schema says one and
// practice shows the other.
func settingsKeys() []key {
	all := keys(flags(switches...), texts(plainTexts...))
	for _, name := range counts {
		all = append(all, maybe(name, nullable(integer(0, math.MaxInt32))))
	}
	for _, name := range richTexts {
		all = append(all, maybe(name, nullable(either(text, open()))))
	}
	return all
}

func mergedSettings(old, given map[string]any) map[string]any {
	merged := maps.Clone(old)
	if merged == nil {
		merged = map[string]any{}
	}
	maps.Copy(merged, given)
	return merged
}

// completeSettings adds the keys that reading always shows.
func completeSettings(given map[string]any) map[string]any {
	all := map[string]any{}
	for _, name := range switches {
		all[name] = name == "saveForLater"
	}
	for _, names := range [][]string{counts, plainTexts, richTexts} {
		for _, name := range names {
			all[name] = nil
		}
	}
	maps.Copy(all, given)
	return all
}
