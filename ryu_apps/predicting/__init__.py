"""How an outlook comes about; ryu_apps.predictor and ryu_apps.day_predictor are the apps that this runs in."""
