package sandbox

import (
	"regexp"
	"time"
)

type userView struct {
	ID                  string  `json:"id"`
	FirstName           string  `json:"firstName"`
	LastName            string  `json:"lastName"`
	FullName            string  `json:"fullName"`
	Email               string  `json:"email"`
	AvatarURL           *string `json:"avatarUrl"`
	OrganizationID      string  `json:"organizationId"`
	IsDeleted           bool    `json:"isDeleted"`
	HasTwoFactorEnabled bool    `json:"hasTwoFactorEnabled"`
	CreatedAt           stamp   `json:"createdAt"`
	UpdatedAt           stamp   `json:"updatedAt"`
	SubscriptionPlan    Plan    `json:"subscriptionPlan,omitempty"`
	Timezone            string  `json:"timezone,omitempty"`
}

func (u *user) view() userView {
	return userView{
		ID: u.id, FirstName: u.firstName, LastName: u.lastName, FullName: u.firstName + " " + u.lastName,
		Email: u.email, AvatarURL: u.avatarURL, OrganizationID: u.organizationID, IsDeleted: u.deleted,
		HasTwoFactorEnabled: u.twoFactor, CreatedAt: stamp(u.createdAt), UpdatedAt: stamp(u.updatedAt),
		Timezone: u.timezone,
	}
}

var zoneName = regexp.MustCompile(`^[A-Za-z]+(/[A-Za-z0-9_+-]+)*$`)

// zone checks the form of an IANA name only: not every machine has the list.
func zone(path string, v any) *violation {
	s, _ := v.(string)
	if !zoneName.MatchString(s) {
		return complain(path, "must be a valid timezone", "any.invalid")
	}
	return nil
}

// getMe stores the timezone it is given, which makes it a write on a GET.
// [behaviour me-timezone-writes]
func getMe(_ *Sandbox, c *call) *reply {
	if tz := c.query.Get("timezone"); tz != "" && tz != c.user.timezone {
		c.user.timezone, c.user.updatedAt = tz, c.now.Truncate(time.Millisecond)
	}
	view := c.user.view()
	view.SubscriptionPlan = c.org.plan
	return ok(view)
}
