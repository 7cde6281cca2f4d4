"""The admin site: the operators' cockpit."""

from unfold.sites import UnfoldAdminSite


class PerennialAdminSite(UnfoldAdminSite):
    site_header = "Perennial"
    site_title = "Perennial"
