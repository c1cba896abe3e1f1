"""Where the methods come from: every citation stands here, once."""
from __future__ import annotations

CITATIONS = {
    "bach2015": "Bach, Binder, Montavon, Klauschen, Müller & Samek 2015, layer-wise relevance propagation, PLoS ONE 10(7)",
    "kim2019": "Kim, Seo, Jeon, Koo, Choe & Jeon 2019, Why are saliency maps noisy?, ICCV workshops",
    "kindermans2018": "Kindermans, Schütt, Alber, Müller, Erhan, Kim & Dähne 2018, Learning how to explain neural networks, ICLR",
    "lapuschkin2017": "Lapuschkin, Binder, Müller & Samek 2017, Age and gender classification (CMP), ICCV workshops",
    "montavon2017": "Montavon, Lapuschkin, Binder, Samek & Müller 2017, deep Taylor decomposition, Pattern Recognition 65",
    "shrikumar2017": "Shrikumar, Greenside & Kundaje 2017, Learning important features (DeepLIFT), ICML",
    "simonyan2014": "Simonyan, Vedaldi & Zisserman 2014, Deep inside convolutional networks, ICLR workshop",
    "sixt2020": "Sixt, Granz & Landgraf 2020, When explanations lie, ICML",
    "springenberg2015": "Springenberg, Dosovitskiy, Brox & Riedmiller 2015, Striving for simplicity, ICLR workshop",
    "zeiler2014": "Zeiler & Fergus 2014, Visualizing and understanding convolutional networks, ECCV",
}
